"""What a voxel-wise classifier sees of a voxel: its neighbourhood at several scales in mm, and where it lies.

A channel gives its intensity, and at each scale the Gaussian-smoothed intensity, the magnitude of its gradient and the
eigenvalues of its Hessian (large to small), from which bright and dark blobs, tubes and plates can be told. Derivatives
are multiplied by the scale to their power, so that they do not fade at large scales (Lindeberg 1998, "Feature detection
with automatic scale selection", IJCV 30(2)). The last features are the voxel's relative position.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.feature import hessian_matrix_eigvals

from autoseg.data.image import Geometry
from autoseg.studies.comparison.baselines.intensities import Normalized

SCALES = (1.0, 2.0, 4.0)
"""Standard deviations of the Gaussians, in the finest spacing of a typical case."""

_TRUNCATE = 3.0  # standard deviations where a Gaussian ends
_DIFFERENCES = 2  # voxels that two central differences, one after the other, look to each side
_SLAB_FLOATS = 2**24  # features of a slab in memory at a time: 64 MiB


@dataclass(frozen=True)
class FeaturePlan:
    """What is computed, the same for all cases.

    Attributes:
        channels: how many the images have.
        scales: standard deviations in mm, rising.
        planar: pictures, which are neither smoothed nor derived along z.
    """

    channels: int
    scales: tuple[float, ...]
    planar: bool

    @property
    def axes(self) -> tuple[int, ...]:
        """Array axes along which there is anything to see."""
        return (1, 2) if self.planar else (0, 1, 2)

    @property
    def count(self) -> int:
        """Features per voxel."""
        return self.channels * (1 + len(self.scales) * (2 + len(self.axes))) + len(self.axes)


@dataclass(frozen=True)
class FeatureSlab:
    """A part of a volume: from `start` to below `stop` along one axis, whole along the others."""

    axis: int
    start: int
    stop: int

    @property
    def index(self) -> tuple[slice, slice, slice]:
        """The slab as an index into (Z, Y, X)."""
        return _along(self.axis, self.start, self.stop)


def plan_features(geometries: Sequence[Geometry], channels: int) -> FeaturePlan:
    """Scales that suit the images: `SCALES` times the median over these of the finest spacing.

    Args:
        geometries: of training cases, at least one; pictures are taken as such where all are.
    """
    planar = all(geometry.dimension == 2 for geometry in geometries)
    finest = float(np.median([min(geometry.spacing) for geometry in geometries]))
    return FeaturePlan(channels, tuple(scale * finest for scale in SCALES), planar)


def slabs(shape: tuple[int, int, int], plan: FeaturePlan) -> Iterator[FeatureSlab]:
    """Slabs that cover a volume (Z, Y, X) in turn, thin enough that their features fit into memory.

    They are cut along z, a single slice along y. The features do not depend on where the cuts are.
    """
    axis = 0 if shape[0] > 1 else 1
    plane = math.prod(shape) // shape[axis]
    thickness = max(1, _SLAB_FLOATS // (plane * plan.count))
    for start in range(0, shape[axis], thickness):
        yield FeatureSlab(axis, start, min(shape[axis], start + thickness))


def slab_features(image: Normalized, plan: FeaturePlan, slab: FeatureSlab, mask: np.ndarray) -> np.ndarray:
    """Features of voxels of a slab.

    Args:
        mask: bool with the slab's shape, the voxels that are asked for.

    Returns:
        float32 (voxels, features), C order; voxels in the order of `numpy.nonzero`.
    """
    rows: np.ndarray = np.empty((np.count_nonzero(mask), plan.count), np.float32)
    if not len(rows):
        return rows
    column = 0
    for channel in image.array:
        rows[:, column] = channel[slab.index][mask]
        column += 1
        for scale in plan.scales:
            for field in _fields(channel, image.geometry.spacing, plan, slab, scale):
                rows[:, column] = field[mask]
                column += 1
    offset = np.zeros(3, np.int64)
    offset[slab.axis] = slab.start
    voxels = np.nonzero(mask)
    for axis in plan.axes:
        rows[:, column] = (voxels[axis] + offset[axis] + 0.5) / image.inside.shape[axis] - 0.5
        column += 1
    return rows


def _fields(
    channel: np.ndarray, spacing: tuple[float, float, float], plan: FeaturePlan, slab: FeatureSlab, scale: float
) -> Iterator[np.ndarray]:
    """Smoothed intensity, gradient magnitude and Hessian eigenvalues of a slab, each with its shape."""
    sigmas = [scale / spacing[axis] if axis in plan.axes else 0.0 for axis in range(3)]
    length = channel.shape[slab.axis]
    radius = int(_TRUNCATE * sigmas[slab.axis] + 0.5)  # as gaussian_filter has it
    near = max(0, slab.start - _DIFFERENCES), min(length, slab.stop + _DIFFERENCES)
    far = max(0, near[0] - radius), min(length, near[1] + radius)
    smooth = gaussian_filter(channel[_along(slab.axis, *far)], sigmas, mode="nearest", truncate=_TRUNCATE)
    smooth = smooth[_along(slab.axis, near[0] - far[0], near[1] - far[0])]
    core = _along(slab.axis, slab.start - near[0], slab.stop - near[0])
    yield smooth[core]
    gradient = {axis: _derivative(smooth, axis, spacing[axis] / scale) for axis in plan.axes}
    yield np.sqrt(sum(np.square(part[core]) for part in gradient.values()))
    pairs = combinations_with_replacement(plan.axes, 2)
    hessian = [_derivative(gradient[i], j, spacing[j] / scale)[core] for i, j in pairs]
    yield from hessian_matrix_eigvals(hessian)


def _derivative(field: np.ndarray, axis: int, step: float) -> np.ndarray:
    """Central differences, one-sided at the ends; zero along an axis with one voxel."""
    if field.shape[axis] < 2:
        return np.zeros_like(field)
    return np.gradient(field, step, axis=axis)


def _along(axis: int, start: int, stop: int) -> tuple[slice, slice, slice]:
    z, y, x = (slice(start, stop) if i == axis else slice(None) for i in range(3))
    return z, y, x
