"""Blur and linear enlargement, axis by axis, by operations that run at the speed of memory.

A direct 3D convolution or interpolation of a single channel is slow on a CPU: its inner loop is short or scalar.
Here whole arrays are shifted, weighted and added instead, and the few voxels at the border are put right after.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64

_CACHED = 1 << 16  # voxels worked on at a time, so that intermediate results stay in the cache
_SMALL = 1 << 18  # multiplications by a matrix that cost less than the calls they save


def gaussian_kernel_size(sigma: float, truncate: float = 6.0) -> int:
    """Taps of the blur kernel: the odd number nearest to `truncate * sigma + 0.5` (nnU-Net's rule)."""
    radius = sigma * truncate + 0.5
    rounded = round(radius)
    if rounded % 2 == 1:
        return rounded
    return rounded + 1 if radius >= rounded else rounded - 1


def gaussian_weights(sigma: float) -> Float64[np.ndarray, " tap"]:
    """Weights of the blur kernel (float64, odd length, sum 1) for a standard deviation in voxels, > 0."""
    half = gaussian_kernel_size(sigma) // 2
    weights = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return weights / weights.sum()


def blur_(array: Float32[torch.Tensor, "*space"], sigmas: Sequence[float]) -> None:
    """Gaussian blur in place, each axis with its own sigma (voxels, > 0), mirrored about the outermost voxels.

    `array` is float32 and contiguous; an axis of one voxel is unchanged.
    """
    source, target = array, torch.empty_like(array)
    for axis, sigma in enumerate(sigmas):
        _blur_axis(source, sigma, axis, target)
        source, target = target, source
    if source is not array:
        array.copy_(source)


def enlarge(array: Float32[torch.Tensor, "*space"], out: Float32[torch.Tensor, "*larger"]) -> None:
    """Linear interpolation into `out`, voxels taken as areas (align_corners=False).

    Both are float32 with 2 or 3 axes, no axis of `out` shorter. The planes of the last two axes go through torch's
    vectorised 2D kernel and the first of three axes is a weighted sum of planes, which together take less than half
    the time of its 3D kernel.
    """
    size = tuple(out.shape[-2:])
    channels = array.reshape(1, -1, *array.shape[-2:])
    planes = channels[0] if array.shape[-2:] == size else interpolate(channels, size, mode="bilinear")[0]
    if out.ndim == 2 or len(planes) == len(out):
        out.copy_(planes.view(out.shape))
        return
    positions = ((torch.arange(len(out)) + 0.5) * (len(planes) / len(out)) - 0.5).clamp_(0, len(planes) - 1)
    lower = positions.long()
    upper = (lower + 1).clamp_(max=len(planes) - 1)
    weight = (positions - lower).view(-1, 1, 1)
    at_once = max(1, _CACHED // out[0].numel())
    for first in range(0, len(out), at_once):
        part = slice(first, first + at_once)
        low, high = planes.index_select(0, lower[part]), planes.index_select(0, upper[part])
        torch.lerp(low, high, weight[part], out=out[part])


def _blur_axis(array: torch.Tensor, sigma: float, axis: int, out: torch.Tensor) -> None:
    weights = gaussian_weights(sigma)
    half, length = len(weights) // 2, array.shape[axis]
    if length <= 4 * half or length * array.numel() <= _SMALL:
        out.copy_(_multiply(array, _blur_matrix(length, weights), axis))
        return
    # Shifts of the flattened array are shifts along the axis, but for the voxels that come from another line.
    stride = array.shape[axis + 1 :].numel()
    flat, result = array.view(-1), out.view(-1)
    torch.mul(flat, float(weights[half]), out=result)
    for tap in range(1, half + 1):
        shift, weight = tap * stride, float(weights[half + tap])
        result[shift:].add_(flat[:-shift], alpha=weight)
        result[:-shift].add_(flat[shift:], alpha=weight)
    border = _blur_matrix(4 * half, weights)
    first, last = array.narrow(axis, 0, 2 * half), array.narrow(axis, length - 2 * half, 2 * half)
    out.narrow(axis, 0, half).copy_(_multiply(first, border[:half, : 2 * half], axis))
    out.narrow(axis, length - half, half).copy_(_multiply(last, border[-half:, -2 * half :], axis))


def _blur_matrix(length: int, weights: np.ndarray) -> torch.Tensor:
    """The blur of a whole axis as a float32 (length, length) matrix, whatever the length."""
    positions = _reflected(length, len(weights))
    matrix = np.bincount(positions, weights=np.tile(weights, length), minlength=length * length)
    return torch.from_numpy(matrix.reshape(length, length).astype(np.float32))


@lru_cache(maxsize=64)
def _reflected(length: int, taps: int) -> np.ndarray:
    """For each row and tap of a blur matrix the flat index of the voxel that is weighted."""
    rows = np.repeat(np.arange(length), taps)
    columns = rows + np.tile(np.arange(taps) - taps // 2, length)
    period = max(2 * (length - 1), 1)
    columns = columns % period
    columns = np.where(columns >= length, period - columns, columns)
    return rows * length + columns


def _multiply(array: torch.Tensor, matrix: torch.Tensor, axis: int) -> torch.Tensor:
    """The lines along an axis multiplied by an (out, in) matrix."""
    return torch.movedim(torch.tensordot(matrix, array, dims=([1], [axis])), 0, axis)
