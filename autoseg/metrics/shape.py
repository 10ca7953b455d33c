"""Holes of an object and where its centre lies: what overlap hardly sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cc3d
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Integer

_ROWS_AT_ONCE = 255  # slices whose voxels a byte can count


def hole_voxels(mask: Bool[np.ndarray, "*space"], labels: Integer[np.ndarray, "*space"] | None = None) -> int:
    """Number of background voxels that an object encloses.

    A hole is a component of voxels outside the object, connected across faces (6 neighbours in 3D, 4 in 2D), that does
    not reach the edge of the array: those that `scipy.ndimage.binary_fill_holes` fills. In 3D a hole that is open in
    the next slice is none.

    Args:
        mask: boolean, two or three axes, cut to any box that holds the object: the smaller, the faster.
        labels: integers of that shape. Enclosed voxels of another label (a tumour within an organ) then do not count.

    Returns:
        Voxels of all holes together; 0 for an empty mask.
    """
    if min(mask.shape, default=0) < 3:  # every voxel lies at the edge
        return 0
    outside = np.ones([side + 2 for side in mask.shape], bool)  # with a rim, which makes one component of all around
    outside[(slice(1, -1),) * mask.ndim] = ~mask
    components, count = cc3d.connected_components(
        outside, connectivity=4 if mask.ndim == 2 else 6, return_N=True, binary_image=True
    )
    if count == 1:
        return 0
    inner = components[(slice(1, -1),) * mask.ndim]
    holes = (inner != 0) & (inner != components.flat[0])
    return int(np.count_nonzero(holes if labels is None else holes & (labels == 0)))


def centroid(mask: Bool[np.ndarray, "_ ..."]) -> tuple[float, ...] | None:
    """Mean place of the object's voxels, in voxels from the array's first one, a value per axis; None if it is empty.

    Args:
        mask: boolean, at least one axis.
    """
    rows = np.array([np.count_nonzero(row) for row in mask])
    total = int(rows.sum())
    if total == 0:
        return None
    plane = np.zeros(mask.shape[1:], np.int64)
    for start in range(0, len(mask), _ROWS_AT_ONCE):  # bytes are summed many times faster than wider integers
        plane += mask[start : start + _ROWS_AT_ONCE].view(np.uint8).sum(axis=0, dtype=np.uint8)
    axes = range(plane.ndim)  # none of a mask with one axis
    lines = [rows, *(plane.sum(axis=tuple(other for other in axes if other != axis)) for axis in axes)]
    return tuple(float(line @ np.arange(len(line))) / total for line in lines)


def centroid_shift(
    prediction: Bool[np.ndarray, "*space"], reference: Bool[np.ndarray, "*space"], spacing: Sequence[float]
) -> tuple[float, ...] | None:
    """From the reference's centroid to the prediction's, in mm along each array axis; None if either is empty.

    Its length is the centroid distance. Regions without any common voxel have one too.

    Args:
        prediction, reference: boolean masks of one shape.
        spacing: mm between voxel centres, one value per axis.

    Source: Maier-Hein, Reinke et al. 2024, Nature Methods 21, "centre distance" for localisation.
    """
    ours, theirs = centroid(prediction), centroid(reference)
    if ours is None or theirs is None:
        return None
    return tuple((p - r) * step for p, r, step in zip(ours, theirs, spacing, strict=True))
