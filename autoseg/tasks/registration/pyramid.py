"""An image at several resolutions, and the same field of view at each of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from autoseg.tasks.registration.smoothing import gaussian
from autoseg.tasks.registration.space import Grid

LEAST = 6
"""Voxels along an axis below which it is not shrunk any further."""

_BLUR = 0.45  # standard deviation of the Gaussian before shrinking by a factor, in new voxels


def pyramid(image: Tensor, grid: Grid, levels: int, *, least: int = LEAST) -> list[tuple[Tensor, Grid]]:
    """The image at several resolutions, coarse to fine; the last is the image itself.

    Spacings double from level to level, the finest axes first: an axis is shrunk by the power of two that brings its
    spacing closest to the level's (the finest spacing times 2, 4, ...), so that coarse levels are close to isotropic.

    Args:
        image: (C, *S) on `grid`.
        levels: at most; a level at which nothing more can be shrunk is left out.
        least: voxels that an axis keeps; a shorter axis is not shrunk.

    Returns:
        (image (C, *s), its grid), at least one; differentiable in the image.
    """
    stack = [(image, grid)]
    for shape in shapes(grid, levels, least=least)[-2::-1]:
        stack.append((shrunk(image, shape), grid.resized(shape)))
    return stack[::-1]


def shapes(grid: Grid, levels: int, *, least: int = LEAST) -> list[tuple[int, ...]]:
    """The shapes of the levels of `pyramid`, coarse to fine."""
    stack = [grid.shape]
    finest = min(grid.spacing)
    for level in range(1, levels):
        shape = tuple(
            _shortened(length, 2**level * finest / step, least)
            for length, step in zip(grid.shape, grid.spacing, strict=True)
        )
        if shape != stack[-1]:
            stack.append(shape)
    return stack[::-1]


def shrunk(image: Tensor, shape: Sequence[int]) -> Tensor:
    """An image (C, *S) with fewer voxels in the same field of view, smoothed before against aliasing."""
    factors = [old / new for old, new in zip(image.shape[1:], shape, strict=True)]
    smooth = gaussian(image, [_BLUR * factor if factor > 1 else 0.0 for factor in factors])
    return resampled(smooth, shape)


def resampled(maps: Tensor, shape: Sequence[int]) -> Tensor:
    """Maps (K, *S) by linear interpolation on `Grid.resized(shape)`; continued by their border."""
    mode = "bilinear" if maps.ndim == 3 else "trilinear"
    return functional.interpolate(maps[None], size=tuple(shape), mode=mode, align_corners=False)[0]


def _shortened(length: int, factor: float, least: int) -> int:
    """A length divided by the power of two that is closest to a factor from below, but not below `least`."""
    divisor = 1
    while 2 * divisor <= factor * 1.42 and length // (2 * divisor) >= least:
        divisor *= 2
    return -(-length // divisor)
