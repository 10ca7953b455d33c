"""Overlapping tiles that cover an image, and how much each voxel of a tile counts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def tile_starts(image: Sequence[int], tile: Sequence[int], overlap: float = 0.5) -> list[tuple[int, ...]]:
    """Start of each tile so that tiles of at most the wanted distance cover the image evenly (nnU-Net's rule).

    Args:
        image: spatial shape, at least as large as the tile along every axis.
        tile: shape of a tile.
        overlap: wanted share of a tile that the next one covers too; 0.5 is half.

    Returns:
        Starts in array order, last axis fastest.
    """
    axes = []
    for length, size in zip(image, tile, strict=True):
        if size > length:
            raise ValueError(f"a tile of {tuple(tile)} does not fit into an image of {tuple(image)}")
        wanted = size * (1 - overlap)
        count = int(np.ceil((length - size) / wanted)) + 1
        step = (length - size) / (count - 1) if count > 1 else 0.0
        axes.append([int(np.round(step * i)) for i in range(count)])
    return list(itertools.product(*axes))


def count_tiles(image: Sequence[int], tile: Sequence[int], overlap: float = 0.5) -> int:
    """Tiles that cover an image (Z, Y, X), after padding; a tile of 2 axes covers every slice."""
    least = (1, *tile) if len(tile) == 2 else tuple(tile)
    padded = [max(length, size) for length, size in zip(image, least, strict=True)]
    if len(tile) == 2:
        return padded[0] * len(tile_starts(padded[1:], tile, overlap))
    return len(tile_starts(padded, tile, overlap))


@lru_cache(maxsize=8)
def gaussian_axes(tile: tuple[int, ...], sigma: float = 1 / 8) -> tuple[Tensor, ...]:
    """Importance of a voxel along each axis of a tile: a Gaussian around the centre, 1 there.

    The importance of a voxel is the product over the axes, so that no tile-sized map is needed.

    Args:
        tile: shape of a tile.
        sigma: standard deviation as a share of the tile's length (Isensee et al., 2021: 1/8).

    Returns:
        One float32 vector an axis.
    """
    vectors = []
    for size in tile:
        # The centre voxel is size // 2, as in nnU-Net, also where the size is even.
        distance = torch.arange(size, dtype=torch.float64) - size // 2
        vectors.append(torch.exp(-0.5 * (distance / (size * sigma)) ** 2).float())
    return tuple(vectors)


def importance(tile: tuple[int, ...]) -> Tensor:
    """The importance map of a tile, shape `tile`, float32, nowhere zero: at least exp(-24), in the corners of a volume.

    It has no floor: where an edge of the image is the edge of several tiles, all of them have tiny importances, whose
    ratios still say which tile sees the voxel from further inside.
    """
    weight = torch.ones(())
    for vector in gaussian_axes(tile):
        weight = weight.unsqueeze(-1) * vector
    return weight


def mirror_combinations(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Every set of spatial axes to flip, the empty one first."""
    return [combination for count in range(len(axes) + 1) for combination in itertools.combinations(axes, count)]
