"""How a U-Net is folded for a patch: which axes are halved at which stage, with which kernels.

The rules are nnU-Net's (Isensee et al. 2021, Nature Methods 18, supplementary note 2): an axis takes part in a pooling
as long as it keeps at least four voxels and its current spacing is within a factor of two of the finest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

MIN_EDGE = 4
"""Least voxels an axis keeps in the deepest feature map (axes that are shorter from the start are never pooled)."""

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Topology:
    """The skeleton of a network for a patch. Axes in plan order, stages from the highest resolution down.

    Attributes:
        patch_size: the patch asked for, each axis rounded up to a multiple of its `divisor`, in voxels.
        strides: a stride per axis for each stage; all 1 in the first.
        kernel_sizes: convolution kernel for each stage; an axis has 1 until its spacing is comparable to the finest.
        divisor: 2 ** (number of poolings) per axis.
    """

    patch_size: Sizes
    strides: tuple[Sizes, ...]
    kernel_sizes: tuple[Sizes, ...]
    divisor: Sizes

    @property
    def stages(self) -> int:
        """Resolution stages, one more than there are poolings."""
        return len(self.strides)


def fold(spacing: Sequence[float], patch_size: Sequence[float]) -> Topology:
    """The topology for a patch of about `patch_size` voxels at `spacing` (mm).

    Args:
        spacing: 2 or 3 positive values.
        patch_size: as many values; halves of voxels (a median) are allowed and rounded up.

    Returns:
        A topology whose patch is at least as large as the one asked for, per axis. A patch too small for any
        pooling gives a single stage.
    """
    dimension = len(spacing)
    current = [float(value) for value in spacing]
    size = list(patch_size)
    divisor = [1] * dimension
    kernel: Sizes = (1,) * dimension
    strides: list[Sizes] = [(1,) * dimension]
    kernels: list[Sizes] = []
    while axes := _axes_to_pool(current, size):
        if 1 in kernel:
            finest = min(current)
            kernel = tuple([3 if k == 3 or mm / finest < 2 else 1 for k, mm in zip(kernel, current, strict=True)])
        kernels.append(kernel)
        stride = [1] * dimension
        for axis in axes:
            stride[axis] = 2
            divisor[axis] *= 2
            current[axis] *= 2
            size[axis] = -(-size[axis] // 2)
        strides.append(tuple(stride))
    kernels.append((3,) * dimension)
    padded = tuple([int(-(-edge // d)) * d for edge, d in zip(patch_size, divisor, strict=True)])
    return Topology(padded, tuple(strides), tuple(kernels), tuple(divisor))


def _axes_to_pool(spacing: list[float], size: list[float]) -> list[int]:
    """Axes that the next stage halves; a single axis is halved only while it keeps a margin over `MIN_EDGE`.

    Plain loops: a plan folds thousands of patches.
    """
    finest = inf
    for mm, edge in zip(spacing, size, strict=True):
        if edge >= 2 * MIN_EDGE and mm < finest:
            finest = mm
    axes = [axis for axis, edge in enumerate(size) if edge >= 2 * MIN_EDGE and spacing[axis] / finest < 2]
    if len(axes) == 1 and size[axes[0]] < 3 * MIN_EDGE:
        return []
    return axes
