"""Images as blocks: the cells that masks are made of."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

from autoseg.errors import TrainingError


def to_blocks(image: Tensor, block: Sequence[int]) -> Tensor:
    """An image (B, C, *space) cut into blocks of that many voxels: (B, blocks, voxels x C), voxels before channels.

    Raises:
        TrainingError: the space is no multiple of the block.
    """
    space = image.shape[2:]
    if len(space) != len(block) or any(n % b for n, b in zip(space, block, strict=True)):
        raise TrainingError(
            "the image cannot be cut into blocks",
            got=f"{tuple(space)} voxels, blocks of {tuple(block)}",
            expected="along each axis a multiple of the block",
            remedy="choose a patch size that is a multiple of the network's strides",
        )
    d = len(block)
    split = [n for length, b in zip(space, block, strict=True) for n in (length // b, b)]
    view = image.reshape(*image.shape[:2], *split)
    cells, voxels = [2 + 2 * axis for axis in range(d)], [3 + 2 * axis for axis in range(d)]
    return view.permute(0, *cells, *voxels, 1).reshape(image.shape[0], -1, image.shape[1] * prod(block))


def at_resolution(mask: Tensor, space: Sequence[int]) -> Tensor:
    """A mask (B, *grid) in a space (B, *space) that is a multiple of its grid: each cell repeated.

    Raises:
        TrainingError: the space is no multiple of the grid.
    """
    grid = mask.shape[1:]
    if len(space) != len(grid) or any(n % g for n, g in zip(space, grid, strict=True)):
        raise TrainingError(
            "the mask does not fit the features",
            got=f"a mask of {tuple(grid)} cells, features of {tuple(space)}",
            expected="along each axis a multiple of the cells",
        )
    for axis, (length, cells) in enumerate(zip(space, grid, strict=True), start=1):
        if length != cells:
            mask = mask.repeat_interleave(length // cells, dim=axis)
    return mask
