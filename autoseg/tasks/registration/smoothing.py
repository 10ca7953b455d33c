"""Gaussian smoothing of maps on a grid, one axis after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

_REACH = 3.0  # standard deviations at which the kernel is cut off
_SHORT = 128  # voxels up to which an axis is smoothed by one matrix: faster than a convolution, and exact


def gaussian(maps: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Smooths maps by a normalised Gaussian.

    At the border the kernel is cut off and its weights divided by their sum, so that constants stay what they are:
    nothing is assumed beyond the grid.

    Args:
        maps: (K, *S), smoothed one by one.
        sigmas: standard deviation along each of the D axes, in voxels; 0 leaves an axis as it is.

    Returns:
        (K, *S); differentiable.
    """
    for axis, sigma in enumerate(sigmas, start=1):
        if sigma > 0 and maps.shape[axis] > 1:
            along = _by_matrix if maps.shape[axis] <= _SHORT else _by_convolution
            maps = along(maps, axis, float(sigma))
    return maps


def _by_matrix(maps: Tensor, axis: int, sigma: float) -> Tensor:
    length = maps.shape[axis]
    index = torch.arange(length, dtype=maps.dtype, device=maps.device)
    distance = (index[:, None] - index) / sigma
    weights = torch.exp(-0.5 * distance.square()) * (distance.abs() <= _reach(sigma) / sigma)
    weights = weights / weights.sum(dim=1, keepdim=True)
    if axis == maps.ndim - 1:
        return maps @ weights.T
    # the axes before and after, each as one: matrix products of large blocks, nothing is copied
    blocks = maps.reshape(math.prod(maps.shape[:axis]), length, -1)
    return (weights @ blocks).reshape(maps.shape)


def _by_convolution(maps: Tensor, axis: int, sigma: float) -> Tensor:
    radius = _reach(sigma)
    offset = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (offset / sigma).square())
    length = maps.shape[axis]
    lines = maps.reshape(math.prod(maps.shape[:axis]), 1, length, -1)
    smooth = functional.conv2d(lines, kernel.reshape(1, 1, -1, 1), padding=(radius, 0))
    weight = functional.conv1d(maps.new_ones(1, 1, length), kernel.reshape(1, 1, -1), padding=radius)
    return (smooth / weight.reshape(1, 1, length, 1)).reshape(maps.shape)


def _reach(sigma: float) -> int:
    return max(1, math.ceil(_REACH * sigma))
