"""Overlapping tiles that cover an image, and how much each voxel of a tile counts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float32


def tile_starts(image: Sequence[int], tile: Sequence[int], overlap: float = 0.5) -> list[tuple[int, ...]]:
    """Start of each tile so that tiles of at most the wanted distance cover the image evenly (nnU-Net's rule).

    Args:
        image: spatial shape, at least as large as the tile along every axis.
        tile: shape of a tile.
        overlap: wanted share of a tile that the next one covers too; 0.5 is half. Tiles are a voxel apart at least.

    Returns:
        Starts in array order, last axis fastest.
    """
    return list(itertools.product(*_axis_starts(image, tile, overlap)))


def _axis_starts(image: Sequence[int], tile: Sequence[int], overlap: float) -> list[list[int]]:
    """Along each axis where tiles start."""
    axes = []
    for length, size in zip(image, tile, strict=True):
        if size > length:
            raise ValueError(f"a tile of {tuple(tile)} does not fit into an image of {tuple(image)}")
        target_step = max(1.0, size * (1 - overlap))
        count = int(np.ceil((length - size) / target_step)) + 1
        step = (length - size) / (count - 1) if count > 1 else 0.0
        axes.append([int(np.round(step * i)) for i in range(count)])
    return axes


@dataclass(frozen=True)
class PlacedTile:
    """A tile in its place.

    Attributes:
        box: of the image (Z, Y, X).
        weights: share of this tile in the mean over all tiles, a float32 vector per axis; the share of a voxel is the
            product of the three, and the shares of all tiles that see it sum to 1.
    """

    box: tuple[slice, slice, slice]
    weights: tuple[Float32[Tensor, " z"], Float32[Tensor, " y"], Float32[Tensor, " x"]]


def place_tiles(image: Sequence[int], tile: Sequence[int], overlap: float = 0.5) -> list[PlacedTile]:
    """Tiles that cover an image (Z, Y, X) with their Gaussian weights, those of the first rows first.

    Tiles stand on a grid, so that the sum of the importances over all tiles is a product over the axes as well: the
    mean needs no volume of weights.

    Args:
        image: spatial shape, at least as large as the tile.
        tile: 3 axes, or 2 of a tile that is one slice thick.
        overlap: as in `tile_starts`.
    """
    z, y, x = (_shares(*axis) for axis in _grid(image, tile, overlap))
    return [
        PlacedTile((a, b, c), (along_z, along_y, along_x))
        for (a, along_z), (b, along_y), (c, along_x) in itertools.product(z, y, x)
    ]


def _grid(image: Sequence[int], tile: Sequence[int], overlap: float) -> list[tuple[int, list[int], Tensor]]:
    """Each axis: length, starts and importance of a tile's voxels; a 2D tile stands in every slice."""
    planar = len(tile) == 2
    lengths = image[1:] if planar else image
    axes = list(zip(lengths, _axis_starts(lengths, tile, overlap), gaussian_axes(tuple(tile)), strict=True))
    return [(image[0], list(range(image[0])), torch.ones(1)), *axes] if planar else axes


def _shares(length: int, starts: list[int], importance: Tensor) -> list[tuple[slice, Tensor]]:
    """Each tile's place along an axis and its importance over that of all tiles there."""
    tiles = [slice(start, start + len(importance)) for start in starts]
    total = torch.zeros(length, dtype=torch.float64)
    for tile in tiles:
        total[tile] += importance
    return [(tile, (importance / total[tile]).float()) for tile in tiles]


def count_tiles(image: Sequence[int], tile: Sequence[int], overlap: float = 0.5) -> int:
    """Tiles that cover an image (Z, Y, X), after padding; a tile of 2 axes covers every slice."""
    least = (1, *tile) if len(tile) == 2 else tuple(tile)
    padded = [max(length, size) for length, size in zip(image, least, strict=True)]
    if len(tile) == 2:
        return padded[0] * len(tile_starts(padded[1:], tile, overlap))
    return len(tile_starts(padded, tile, overlap))


@lru_cache(maxsize=8)
def gaussian_axes(tile: tuple[int, ...], sigma: float = 1 / 8) -> tuple[Float32[Tensor, " _"], ...]:
    """Importance of a voxel along each axis of a tile: a Gaussian around the centre, 1 there.

    The importance of a voxel is the product over the axes, so that no tile-sized map is needed.

    Args:
        tile: shape of a tile.
        sigma: standard deviation as a share of the tile's length (Isensee et al., 2021: 1/8).

    Returns:
        One float32 vector per axis.
    """
    vectors = []
    for size in tile:
        # The centre voxel is size // 2, as in nnU-Net, also where the size is even.
        distance = torch.arange(size, dtype=torch.float64) - size // 2
        vectors.append(torch.exp(-0.5 * (distance / (size * sigma)) ** 2).float())
    return tuple(vectors)


def importance(tile: tuple[int, ...]) -> Float32[Tensor, "*tile"]:
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
