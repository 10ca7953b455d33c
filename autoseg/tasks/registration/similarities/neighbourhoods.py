"""Sums over cubes and differences between neighbours on a grid, cheap on a processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped


def box_sum(maps: Float[Tensor, " map *space"], radius: int) -> Float[Tensor, " map *space"]:
    """Sums over the cube of 2 * radius + 1 voxels per side around each voxel, cut off at the border.

    The cost grows with the logarithm of the radius and the rounding error with the values in the cube: running totals,
    which are as cheap, lose digits along an axis.

    Args:
        maps: (K, *S), summed one by one.

    Returns:
        (K, *S); differentiable as often as wanted.
    """
    result: Tensor = _BoxSum.apply(maps, radius)  # type: ignore[no-untyped-call]
    return result


def box_counts(shape: Sequence[int], radius: int, like: Float[Tensor, " ..."]) -> Float[Tensor, "*space"]:
    """How many voxels of a grid lie in the cube around each: (*S), of the dtype and device of `like`."""
    counts = like.new_ones(())
    for axis, length in enumerate(shape):
        index = torch.arange(length, device=like.device)
        along = (index + radius).clamp_max(length - 1) - (index - radius).clamp_min(0) + 1
        counts = counts * along.to(like.dtype).reshape(-1, *[1] * (len(shape) - 1 - axis))
    return counts


def shifted(maps: Shaped[Tensor, "*shape"], offset: Sequence[int]) -> Shaped[Tensor, "*shape"]:
    """The value of each voxel's neighbour at an offset: (..., *S), zero where that lies outside."""
    pads: list[int] = []
    for length, step in zip(reversed(maps.shape), reversed(offset), strict=False):
        step = max(-length, min(length, step))
        pads += [-step, step]
    return functional.pad(maps, pads)


def differences(
    image: Float[Tensor, " channel *space"], seen: Bool[Tensor, "*space"]
) -> Float[Tensor, "channel axis *space"]:
    """Derivatives of an image per voxel: central, one-sided where one neighbour is not seen, else zero.

    Args:
        image: (C, *S).
        seen: (*S) bool; other voxels are not looked at.

    Returns:
        (C, D, *S), intensity per voxel along each axis; zero at voxels that are not seen.
    """
    along = []
    for axis in range(seen.ndim):
        step = [int(other == axis) for other in range(seen.ndim)]
        back = [-length for length in step]
        ahead, behind = seen & shifted(seen, step), seen & shifted(seen, back)
        total = torch.where(ahead, shifted(image, step) - image, 0)
        total = total + torch.where(behind, image - shifted(image, back), 0)
        along.append(total / (ahead.to(image.dtype) + behind).clamp_min(1))
    return torch.stack(along, dim=1)


class _BoxSum(torch.autograd.Function):
    """A sum over symmetric windows is its own adjoint."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, radius: int) -> Tensor:
        ctx.radius = radius
        return _box_sum(maps, radius)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return box_sum(gradients[0], ctx.radius), None


def _box_sum(maps: Tensor, radius: int) -> Tensor:
    """With a border of zeros, an axis of the grid is a stride of one flat array, which is added to itself in long runs.

    Windows that begin in the border run into the next row; they are left out at the end. Maps are done one at a time
    because one fits into the cache.
    """
    sums = torch.empty_like(maps, memory_format=torch.contiguous_format)
    for values, total in zip(maps, sums, strict=True):
        padded = functional.pad(values[None], (radius,) * (2 * values.ndim))[0]
        flat = padded.flatten()
        for stride in padded.stride():
            flat = _run_sum(flat, stride, 2 * radius + 1)
        total.copy_(flat.as_strided(values.shape, padded.stride()))
    return sums


def _run_sum(flat: Tensor, stride: int, width: int) -> Tensor:
    """The sum of `width` values `stride` apart, from each index where they all exist, by doubling."""
    length = len(flat) - (width - 1) * stride
    total, done = None, 0
    block, size = flat, 1  # block: sums of `size` values
    while True:
        if width & size:
            part = block[done * stride : done * stride + length]
            total = part if total is None else total + part
            done += size
        if 2 * size > width:
            assert total is not None
            return total
        block = block[: len(block) - size * stride] + block[size * stride :]
        size *= 2
