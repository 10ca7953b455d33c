"""How good a registration is: labels, landmarks, and what the transform does to space.

A similarity that was optimised says nothing about that: it improves too where an image is torn to look like another.
Labels and landmarks, which the fit has not seen, are evidence; determinants tell whether the deformation is possible.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from autoseg.metrics.score import score_labels
from autoseg.records import Record
from autoseg.tasks.registration.space import Grid, inside
from autoseg.tasks.registration.transforms import SpatialTransform, jacobian, jacobian_determinant
from autoseg.tasks.registration.warp import mapped, slab_rows, slabs

_LEARN2REG_MARGIN = 2  # voxels that Learn2Reg leaves out on every side
_LEARN2REG_SHIFT, _LEARN2REG_BOUNDS = 3.0, (1e-9, 1e9)


class LabelAgreement(Record):
    """How far the warped labels of the moving image agree with those of the fixed one.

    Attributes:
        dice_before, hd95_before: with the images as their headers place them (mm). None where they do not exist.
        dice, hd95: after the registration.
    """

    dice_before: float | None
    dice: float | None
    hd95_before: float | None
    hd95: float | None


class DistanceStatistics(Record):
    """Target registration errors of some landmarks: distances to where they should be.

    Attributes:
        mean, median, p90, max: over the landmarks; p90 is the 90th percentile.
    """

    mean: float
    median: float
    p90: float
    max: float


class LandmarkErrors(Record):
    """Target registration errors (TRE) before and after.

    Attributes:
        count: landmarks.
        before, after: mm.
        relative_before, relative_after: divided by the diagonal of the fixed image (Borovec et al. 2020, IEEE TMI
            39(10), "rTRE").
        improved: share of the landmarks that are nearer after than before ("robustness" there).
    """

    count: int
    before: DistanceStatistics
    after: DistanceStatistics
    relative_before: DistanceStatistics
    relative_after: DistanceStatistics
    improved: float


class Deformation(Record):
    """What a transform does to space, over the voxels of the fixed image (or of its mask).

    Attributes:
        voxels: how many were looked at.
        nonpositive_percent: voxels whose Jacobian determinant is 0 or less: space is folded there. In per cent.
        log_jacobian_std: standard deviation of the logarithm of the determinants that are above 0; None without any.
        log_jacobian_std_learn2reg: what Learn2Reg reports under that name: of log(clip(determinant + 3, 1e-9, 1e9)),
            without two voxels at each edge. Added 3 makes folds count as small changes: not comparable with the
            true one. None for images too small.
        jacobian_min, jacobian_max: the most squeezed and the most stretched place; 1 keeps volume.
        displacement_mean, displacement_max: mm, of the whole transform.
        smoothness: mean over the voxels of the Frobenius norm of the displacement's gradient (mm/mm); 0 for a
            translation. Linear parts count too.
        inverse_consistency_mean, inverse_consistency_max: distance in mm that a point is from itself after the
            transform and back, over the voxels that land in the moving image; None if there is no way back.
    """

    voxels: int
    nonpositive_percent: float
    log_jacobian_std: float | None
    log_jacobian_std_learn2reg: float | None
    jacobian_min: float
    jacobian_max: float
    displacement_mean: float
    displacement_max: float
    smoothness: float
    inverse_consistency_mean: float | None = None
    inverse_consistency_max: float | None = None


class Quality(Record):
    """All that is known about how good a registration is.

    Attributes:
        deformation: of the transform.
        coverage: share of the fixed image's voxels for which the moving image has a value, 0..1.
        labels: name -> scores; empty without labels.
        label_interpolation: how labels were warped for the scores.
        landmarks: None without landmarks.
        seconds: of the whole fit.
    """

    deformation: Deformation
    coverage: float
    labels: dict[str, LabelAgreement] = {}
    label_interpolation: str = "nearest"
    landmarks: LandmarkErrors | None = None
    seconds: float | None = None

    @property
    def evidence(self) -> tuple[str, ...]:
        """What speaks about the result beside the similarity that was optimised: "labels", "landmarks", or nothing."""
        return (("labels",) if self.labels else ()) + (("landmarks",) if self.landmarks else ())

    @property
    def dice(self) -> tuple[float | None, float | None]:
        """Mean Dice over the labels before and after; None without any."""
        scores = self.labels.values()
        return _mean(label.dice_before for label in scores), _mean(label.dice for label in scores)


def label_agreement(
    fixed: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    foreground: Mapping[str, Sequence[int]],
    spacing: Sequence[float],
    *,
    dimension: int,
    ignore: int | None = None,
) -> dict[str, LabelAgreement]:
    """Dice and HD95 of labels on the fixed grid.

    Args:
        fixed: the fixed image's labels, training values (Z, Y, X).
        before, after: the moving image's labels on that grid, by the headers alone and after registration.
        foreground: label -> its training values.
        spacing, dimension, ignore: as of `metrics.score.score_labels`.

    Returns:
        name -> scores; a label that neither image has gives None everywhere.

    Raises:
        ImageError: shapes differ.
    """
    scored = [
        score_labels(labels, fixed, foreground, spacing, dimension=dimension, ignore=ignore, metrics=("dice", "hd95"))
        for labels in (before, after)
    ]
    return {
        name: LabelAgreement(
            dice_before=scored[0][name]["dice"],
            dice=scored[1][name]["dice"],
            hd95_before=scored[0][name]["hd95"],
            hd95=scored[1][name]["hd95"],
        )
        for name in foreground
    }


def landmark_errors(fixed: np.ndarray, warped: np.ndarray, moving: np.ndarray, diagonal: float) -> LandmarkErrors:
    """Distances of landmarks to their partners in the moving image.

    Args:
        fixed, moving: (n, D) in mm, row by row the same anatomical point in either image; n > 0.
        warped: the fixed ones taken through the transform (`warp.warp_points`).
        diagonal: mm, of the fixed image.
    """
    before, after = (np.linalg.norm(points - moving, axis=1) for points in (fixed, warped))
    return LandmarkErrors(
        count=len(fixed),
        before=_statistics(before),
        after=_statistics(after),
        relative_before=_statistics(before / diagonal),
        relative_after=_statistics(after / diagonal),
        improved=float((after < before).mean()),
    )


def deformation(field: Tensor, grid: Grid, mask: Tensor | None = None) -> Deformation:
    """Numbers about a displacement field.

    Args:
        field: (D, *S) in mm on `grid`.
        mask: (*S) bool, the voxels that count; all by default. Learn2Reg's number is of all voxels.

    Returns:
        Without the inverse consistency, which needs a way back (`inverse_consistency`). An empty mask counts as none.
    """
    determinants, steepness = _determinants_and_gradients(field, grid)
    chosen = torch.ones_like(determinants, dtype=torch.bool) if mask is None or not mask.any() else mask.bool()
    inner = determinants[chosen].double()
    lengths = field.norm(dim=0)[chosen].double()
    return Deformation(
        voxels=int(inner.numel()),
        nonpositive_percent=nonpositive_percent(inner),
        log_jacobian_std=log_jacobian_std(inner),
        log_jacobian_std_learn2reg=log_jacobian_std_learn2reg(determinants),
        jacobian_min=float(inner.min()),
        jacobian_max=float(inner.max()),
        displacement_mean=float(lengths.mean()),
        displacement_max=float(lengths.max()),
        smoothness=float(steepness[chosen].double().mean()),
    )


def nonpositive_percent(determinants: Tensor) -> float:
    """Per cent of Jacobian determinants that are not above 0 (NaN counts as folded)."""
    return 100 * float((~(determinants > 0)).double().mean())


def log_jacobian_std(determinants: Tensor) -> float | None:
    """Standard deviation of the logarithm of the determinants above 0; None if there is none.

    0 for every affine transform, whatever its scale: it measures unevenness. Folded voxels have no logarithm and are
    counted by `nonpositive_percent`; read the two together.

    Source: Leow et al. 2007, IEEE TMI 26(6).
    """
    positive = determinants[determinants > 0].double()
    return float(positive.log().std(correction=0)) if positive.numel() else None


def log_jacobian_std_learn2reg(determinants: Tensor) -> float | None:
    """What the Learn2Reg challenge calls "SDlogJ": not the standard deviation of the log-determinant.

    Args:
        determinants: (*S); by central differences, as `jacobian_determinant` has them inside the image.

    Returns:
        Of log(clip(determinant + 3, 1e-9, 1e9)), without two voxels at each edge; None where none are left.

    Source: Hering et al. 2023, IEEE TMI 42(3), and the challenge's evaluation script.
    """
    margin = slice(_LEARN2REG_MARGIN, -_LEARN2REG_MARGIN)
    inner = determinants[(margin,) * determinants.dim()].double()
    if not inner.numel():
        return None
    return float((inner + _LEARN2REG_SHIFT).clamp(*_LEARN2REG_BOUNDS).log().std(correction=0))


def gradient_norm(field: Tensor, grid: Grid) -> Tensor:
    """Frobenius norm of the gradient of a displacement field at every voxel: (*S), mm/mm (see `jacobian`)."""
    gradient = jacobian(field, grid)
    for axis in range(grid.dimension):
        gradient[axis, axis] -= 1
    return gradient.square().sum(dim=(0, 1)).sqrt()


def inverse_consistency(
    forward: SpatialTransform, backward: SpatialTransform, fixed: Grid, moving: Grid, device: torch.device | str = "cpu"
) -> DistanceStatistics:
    """Distances in mm between the voxels of a grid and themselves after a transform and a way back.

    Args:
        forward, backward: from fixed to moving, and back: an inverse, or the registration of the pair exchanged.
        fixed, moving: grids of the two images. Voxels that leave the moving image are not counted, since no way back
            is known from there; if all do, all are counted.
        device: to compute on.

    Source: Christensen and Johnson 2001, IEEE TMI 20(7).
    """
    lengths, kept = [], []
    # single precision: double would copy whole fields for every slab
    pairs = zip(slabs(fixed, device, torch.float32), mapped(forward, fixed, device, torch.float32), strict=True)
    for (_, points), (_, targets) in pairs:
        lengths.append((backward(targets) - points).norm(dim=-1).flatten())
        kept.append(inside(moving, targets).flatten())
    distances, counted = torch.cat(lengths), torch.cat(kept)
    return _statistics((distances[counted] if counted.any() else distances).cpu().numpy())


def coverage(transform: SpatialTransform, fixed: Grid, moving: Grid, device: torch.device | str = "cpu") -> float:
    """Share of the fixed image's voxels that the transform takes into the moving image's field of view, 0..1.

    Args:
        transform: from fixed to moving.
        fixed, moving: grids of the two images.
        device: to compute on.
    """
    within = sum(int(inside(moving, targets).sum()) for _, targets in mapped(transform, fixed, device))
    return within / math.prod(fixed.shape)


def _determinants_and_gradients(field: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """`jacobian_determinant` and `gradient_norm`, some rows at a time: the nine derivatives of all would be large."""
    rows = slab_rows(grid)
    measured = []
    for start in range(0, grid.shape[0], rows):
        stop = min(grid.shape[0], start + rows)
        first, last = max(0, start - 1), min(grid.shape[0], stop + 1)  # central differences need the rows beside
        part = replace(grid, shape=(last - first, *grid.shape[1:]))  # derivatives do not depend on the origin
        kept = slice(start - first, stop - first)
        slab = field[:, first:last]
        measured.append((jacobian_determinant(slab, part)[kept], gradient_norm(slab, part)[kept]))
    determinants, norms = (torch.cat(parts) for parts in zip(*measured, strict=True))
    return determinants, norms


def _statistics(lengths: np.ndarray) -> DistanceStatistics:
    median, high = np.percentile(lengths, (50, 90))
    return DistanceStatistics(
        mean=float(lengths.mean()), median=float(median), p90=float(high), max=float(lengths.max())
    )


def _mean(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else None
