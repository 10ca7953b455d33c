"""Distances between the surfaces of two masks, in mm.

The surface of a mask is its border voxels: those with a background neighbour across a face (6 neighbours in 3D, 4 in
2D), the image's outside counting as background. This is the definition of medpy and MONAI. Every border voxel weighs
the same. google-deepmind/surface-distance instead takes the corners between voxels inside and outside and weighs them
by area, which differs where the spacing is very anisotropic or the object is a few voxels wide (docs/metrics.md).

Distances are between voxel centres, exact Euclidean, accurate to single precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import edt
import numpy as np

from autoseg.errors import ImageError
from autoseg.metrics.bounding_boxes import BoundingBox, joint_box, mask_box

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32

TOLERANCE_MM = 1.0
"""Distance in mm up to which `normalised_surface_distance` takes two surfaces for the same."""

_PAIRS_PER_VOXEL = 8  # distances of single pairs of points that take the time of one voxel in two transforms
_PAIRS_AT_ONCE = 1 << 18  # bounds the memory of their table, and keeps it in the cache

_SLACK = 1e-5  # relative; distances are single precision, and one that equals the tolerance must count as within


@dataclass(frozen=True)
class SurfaceDistances:
    """Distance of each border voxel of one mask to the nearest border voxel of the other, in mm (float32, unordered).

    Attributes:
        to_reference: a value for each border voxel of the prediction.
        to_prediction: a value for each border voxel of the reference.
    """

    to_reference: Float32[np.ndarray, " predicted"]
    to_prediction: Float32[np.ndarray, " expected"]


def surface_distances(
    prediction: Bool[np.ndarray, "*space"], reference: Bool[np.ndarray, "*space"], spacing: Sequence[float]
) -> SurfaceDistances | None:
    """Both directed sets of distances between two masks; None if either is empty.

    Args:
        prediction, reference: boolean masks of one shape with one to three axes.
        spacing: mm between voxel centres, one value per axis.

    Raises:
        ImageError: shapes differ, or the spacing has another number of axes or is not positive.
    """
    if prediction.shape != reference.shape:
        raise ImageError("masks have different shapes", got=prediction.shape, expected=reference.shape)
    if len(spacing) != prediction.ndim or min(spacing, default=0) <= 0:
        raise ImageError("a wrong spacing", got=tuple(spacing), expected=f"{prediction.ndim} positive values")
    box = joint_box(prediction, reference)
    if box is None:
        return None
    prediction_border, reference_border = border(prediction[box]), border(reference[box])
    core = mask_box(reference_border)
    if core is None or not prediction_border.any():
        return None
    far = _far_points(prediction_border, reference_border, core)
    if far is None:
        return _transformed(prediction_border, reference_border, spacing)
    # What is nearest is either in the box or one of the few outside, so that the smaller of both is exact.
    near = _transformed(prediction_border[core], reference_border[core], spacing)
    surface = np.argwhere(reference_border[core]) + [side.start for side in core]
    from_far, to_far = _between(far, surface, spacing)
    return SurfaceDistances(
        to_reference=np.concatenate([near.to_reference, from_far]),
        to_prediction=np.minimum(near.to_prediction, to_far),
    )


def border(mask: Bool[np.ndarray, "*space"]) -> Bool[np.ndarray, "*space"]:
    """The voxels of a boolean mask that have a face neighbour outside of it or lie on the image's edge."""
    interior = mask.copy()
    for axis in range(mask.ndim):
        inside, neighbours = np.moveaxis(interior, axis, 0), np.moveaxis(mask, axis, 0)
        inside[1:] &= neighbours[:-1]
        inside[:-1] &= neighbours[1:]
        inside[:1] = inside[-1:] = False
    return mask & ~interior


def hausdorff(distances: SurfaceDistances, percentile: float = 100.0) -> float:
    """Hausdorff distance in mm: the larger of the two directed percentiles.

    With 100 it is the largest distance from one surface to the other; with 95 (HD95) single outliers do not decide.
    Percentiles are interpolated, as MONAI's are; surface-distance takes the smallest distance that so many per cent do
    not exceed, and medpy's hd95 one percentile of both directions pooled.

    Source: Huttenlocher et al. 1993, IEEE TPAMI 15(9).
    """
    both = (distances.to_reference, distances.to_prediction)
    if percentile == 100:
        return max(float(directed.max()) for directed in both)
    return max(float(np.percentile(directed, percentile)) for directed in both)


def average_symmetric_surface_distance(distances: SurfaceDistances) -> float:
    """Mean in mm over the border voxels of both surfaces, pooled (Heimann et al. 2009, IEEE TMI 28(8)).

    medpy averages the two directed means instead, which differs where the surfaces have unequal sizes.
    """
    total = distances.to_reference.sum(dtype=np.float64) + distances.to_prediction.sum(dtype=np.float64)
    return float(total / (len(distances.to_reference) + len(distances.to_prediction)))


def normalised_surface_distance(distances: SurfaceDistances, tolerance_mm: float = TOLERANCE_MM) -> float:
    """Share of both surfaces' border voxels within a tolerance (mm) of the other surface, 0..1.

    Source: Nikolov et al. 2021, J Med Internet Res 23(7), "surface Dice", counted in border voxels as MONAI does.
    """
    limit = tolerance_mm * (1 + _SLACK)
    both = (distances.to_reference, distances.to_prediction)
    within = sum(int(np.count_nonzero(directed <= limit)) for directed in both)
    return within / sum(len(directed) for directed in both)


def _transformed(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> SurfaceDistances:
    """Distances between two sets of border voxels from two distance transforms; infinite to an empty set."""
    return SurfaceDistances(
        to_reference=_distances_at(prediction, reference, spacing),
        to_prediction=_distances_at(reference, prediction, spacing),
    )


def _distances_at(points: np.ndarray, surface: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance of each place to the nearest surface voxel (bytes are edt's fastest input)."""
    steps = tuple(spacing) if surface.ndim > 1 else spacing[0]
    squared: np.ndarray = edt.edtsq((~surface).view(np.uint8), anisotropy=steps, parallel=1)[points]
    return np.sqrt(squared)


def _far_points(prediction: np.ndarray, reference: np.ndarray, core: BoundingBox) -> np.ndarray | None:
    """Places (n, axes) of the prediction's border voxels outside the reference's box, where they are few.

    Small false islands far away would make the box that is transformed many times larger, in time and memory. None
    where the whole box costs less than the distances between each of them and all of the reference.
    """
    outside = int(np.count_nonzero(prediction)) - int(np.count_nonzero(prediction[core]))
    saved = prediction.size - prediction[core].size
    if outside * int(np.count_nonzero(reference)) >= _PAIRS_PER_VOXEL * saved:
        return None
    points = np.argwhere(prediction)
    starts, stops = (np.array([getattr(side, end) for side in core]) for end in ("start", "stop"))
    return points[((points < starts) | (points >= stops)).any(axis=1)]


def _between(some: np.ndarray, others: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Distances between two sets of places, (n, axes) and (m, axes): to the nearest of the other set, (n,) and (m,).

    An empty set is infinitely far away.
    """
    scale = np.asarray(spacing, np.float32)
    nearest, reverse = np.full(len(some), np.inf, np.float32), np.full(len(others), np.inf, np.float32)
    step = max(1, _PAIRS_AT_ONCE // max(1, len(others)))
    columns = (others * scale).T.astype(np.float32)
    for start in range(0, len(some), step):
        squared = np.zeros((len(some[start : start + step]), len(others)), np.float32)
        for column, line in zip(columns, (some[start : start + step] * scale).T.astype(np.float32), strict=True):
            squared += np.square(column - line[:, None])
        nearest[start : start + step] = squared.min(axis=1)
        np.minimum(reverse, squared.min(axis=0), out=reverse)
    return np.sqrt(nearest), np.sqrt(reverse)
