"""Which spacing and axis order the images of a data set are brought to (nnU-Net v2's rules)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from planners.rules import ANISOTROPY

Spacing = Sequence[float]
Shape = Sequence[int]


def target_spacing(spacings: Sequence[Spacing], shapes: Sequence[Shape]) -> tuple[float, ...]:
    """Spacing in mm (z, y, x) of the full resolution: the median, but finer along a coarse axis.

    A median through-plane spacing would interpolate many slices away where some images are finer, so the 10th
    percentile is taken there; it may not fall below the in-plane spacing.

    Args:
        spacings: mm per case.
        shapes: voxels per case, after the crop.
    """
    target = [percentile(values, 50) for values in zip(*spacings, strict=True)]
    size = [percentile(values, 50) for values in zip(*shapes, strict=True)]
    coarse = target.index(max(target))
    others = [axis for axis in range(len(target)) if axis != coarse]
    in_plane = max(target[axis] for axis in others)
    if target[coarse] > ANISOTROPY * in_plane and size[coarse] * ANISOTROPY < min(size[axis] for axis in others):
        finer = percentile([spacing[coarse] for spacing in spacings], 10)
        target[coarse] = finer if finer >= in_plane else in_plane + 1e-5
    return tuple(target)


def axis_order(spacing: Spacing) -> tuple[int, int, int]:
    """The order of the array axes in the plan: the coarsest first, the others as they are."""
    first = max(range(3), key=spacing.__getitem__)
    second, third = (axis for axis in range(3) if axis != first)
    return first, second, third


def median_shape(spacings: Sequence[Spacing], shapes: Sequence[Shape], target: Spacing) -> tuple[float, ...]:
    """Median voxels per axis (z, y, x) once every case is resampled to the target spacing; at least one voxel."""
    resampled = [
        [round(mm / new * voxels) for mm, new, voxels in zip(spacing, target, shape, strict=True)]
        for spacing, shape in zip(spacings, shapes, strict=True)
    ]
    return tuple(percentile(edges, 50) or 1.0 for edges in zip(*resampled, strict=True))


def percentile(values: Iterable[float], percent: float) -> float:
    """Linear between order statistics; `numpy.percentile` to the last bit, without what numpy imports for it first."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * (percent / 100)
    below = int(position)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    share = position - below
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)
