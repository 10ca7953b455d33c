"""Which spacing and axis order the images of a data set are brought to (nnU-Net v2's rules)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planners.rules import ANISOTROPY

Spacing = Sequence[float]
Shape = Sequence[int]


def target_spacing(spacings: Sequence[Spacing], shapes: Sequence[Shape]) -> tuple[float, ...]:
    """Spacing in mm (z, y, x) of the full resolution: the median, but finer along a coarse axis.

    A median through-plane spacing would interpolate many slices away where some images are finer, so the 10th
    percentile is taken there; it may not fall below the in-plane spacing.

    Args:
        spacings: mm a case.
        shapes: voxels a case, after the crop.
    """
    all_spacings = np.asarray(spacings, dtype=np.float64)
    target = np.percentile(all_spacings, 50, 0)
    size = np.percentile(np.asarray(shapes), 50, 0)
    coarse = int(np.argmax(target))
    others = [axis for axis in range(len(target)) if axis != coarse]
    in_plane = max(target[others])
    if target[coarse] > ANISOTROPY * in_plane and size[coarse] * ANISOTROPY < min(size[others]):
        finer = np.percentile(all_spacings[:, coarse], 10)
        target[coarse] = finer if finer >= in_plane else in_plane + 1e-5
    return tuple(target.tolist())


def axis_order(spacing: Spacing) -> tuple[int, int, int]:
    """The order of the array axes in the plan: the coarsest first, the others as they are."""
    first = int(np.argmax(spacing))
    second, third = (axis for axis in range(3) if axis != first)
    return first, second, third


def median_shape(spacings: Sequence[Spacing], shapes: Sequence[Shape], target: Spacing) -> tuple[float, ...]:
    """Median voxels an axis (z, y, x) once every case is resampled to the target spacing; at least one voxel."""
    resampled = [
        [round(mm / new * voxels) for mm, new, voxels in zip(spacing, target, shape, strict=True)]
        for spacing, shape in zip(spacings, shapes, strict=True)
    ]
    return tuple(edge or 1.0 for edge in np.median(resampled, 0).tolist())
