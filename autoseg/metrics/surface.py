"""Distances between the surfaces of two masks, in mm.

The surface of a mask is its border voxels: those with a background neighbour across a face (6 neighbours in 3D, 4 in
2D), the image's outside counting as background. This is the definition of medpy and MONAI. Every border voxel weighs
the same. google-deepmind/surface-distance instead weighs surface elements by their area, which differs where the
spacing is very anisotropic or the object is a few voxels wide.

Distances are between voxel centres, exact Euclidean, accurate to single precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import edt
import numpy as np

from autoseg.errors import ImageError
from autoseg.metrics.counts import joint_box

TOLERANCE_MM = 1.0
"""Distance in mm up to which `normalised_surface_distance` takes two surfaces for the same."""

_SLACK = 1e-5  # relative; distances are single precision, and one that equals the tolerance must count as within


@dataclass(frozen=True)
class SurfaceDistances:
    """Distance of each border voxel of one mask to the nearest border voxel of the other, in mm (float32, unordered).

    Attributes:
        to_reference: a value for each border voxel of the prediction.
        to_prediction: a value for each border voxel of the reference.
    """

    to_reference: np.ndarray
    to_prediction: np.ndarray


def surface_distances(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]
) -> SurfaceDistances | None:
    """Both directed sets of distances between two masks; None if either is empty.

    Args:
        prediction, reference: boolean masks of one shape with one to three axes.
        spacing: mm between voxel centres, one value an axis.

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
    if not prediction_border.any() or not reference_border.any():
        return None
    return SurfaceDistances(
        to_reference=_distance_to(reference_border, spacing)[prediction_border],
        to_prediction=_distance_to(prediction_border, spacing)[reference_border],
    )


def border(mask: np.ndarray) -> np.ndarray:
    """The voxels of a boolean mask that have a face neighbour outside of it or lie on the image's edge."""
    padded = np.pad(mask, 1)
    core = (slice(1, -1),) * mask.ndim
    interior = mask.copy()
    for axis in range(mask.ndim):
        for shifted in (slice(0, -2), slice(2, None)):
            interior &= padded[(*core[:axis], shifted, *core[axis + 1 :])]
    return mask & ~interior


def hausdorff(distances: SurfaceDistances, percentile: float = 100.0) -> float:
    """Hausdorff distance in mm: the larger of the two directed percentiles.

    With 100 it is the largest distance from one surface to the other; with 95 (HD95) single outliers do not decide.
    Like surface-distance and MONAI; medpy's hd95 takes one percentile of both directions pooled.

    Source: Huttenlocher et al. 1993, IEEE TPAMI 15(9).
    """
    both = (distances.to_reference, distances.to_prediction)
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


def _distance_to(surface: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance of every voxel to the nearest surface voxel (bytes are edt's fastest input)."""
    return edt.edt((~surface).view(np.uint8), anisotropy=tuple(spacing), parallel=1)
