"""Logits of a whole image by sliding a network over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.inference.tiling import importance, mirror_combinations, tile_starts
from autoseg.training.runtime import Runtime


@dataclass(frozen=True)
class Sliding:
    """How a network is slid over an image.

    Attributes:
        tile: shape of the network's input, 2 or 3 axes; a 2D network goes through every slice.
        overlap: share of a tile covered by its neighbour.
        mirror_axes: spatial axes (of the tile) over whose flips the logits are averaged.
        batch: tiles (and mirror copies) that go through the network at once.
    """

    tile: tuple[int, ...]
    overlap: float = 0.5
    mirror_axes: tuple[int, ...] = ()
    batch: int = 1


@torch.inference_mode()
def predict_logits(
    networks: Sequence[nn.Module], image: Tensor, outputs: int, sliding: Sliding, runtime: Runtime
) -> Tensor:
    """Logits averaged over networks, mirror copies and overlapping tiles.

    Args:
        networks: in evaluation mode, on the runtime's device; usually one a fold.
        image: (C, Z, Y, X) float32, preprocessed; padded here with zeros where smaller than a tile.
        outputs: channels of the logits.
        sliding: tiles, overlap and mirroring.
        runtime: device, precision and layout.

    Returns:
        (outputs, Z, Y, X) float32 on the CPU.
    """
    image, inner = _pad(image, sliding.tile)
    shape = tuple(image.shape[1:])
    logits = torch.zeros((outputs, *shape), dtype=torch.float32)
    weights = torch.zeros(shape, dtype=torch.float32)
    weight = importance(sliding.tile)
    boxes = _boxes(shape, sliding)
    combinations = mirror_combinations(sliding.mirror_axes)
    tiles_at_once = max(1, sliding.batch // len(combinations))
    for first in range(0, len(boxes), tiles_at_once):
        group = boxes[first : first + tiles_at_once]
        tiles = torch.stack([image[(slice(None), *box)].reshape(-1, *sliding.tile) for box in group])
        result = _mirrored(networks, tiles, combinations, sliding.batch, runtime) * weight
        for box, tile in zip(group, result, strict=True):
            target = logits[(slice(None), *box)]
            target += tile.reshape(target.shape)
            weights[box] += weight.reshape(target.shape[1:])
    logits /= weights
    return logits[(slice(None), *inner)]


def _mirrored(
    networks: Sequence[nn.Module], tiles: Tensor, combinations: list[tuple[int, ...]], batch: int, runtime: Runtime
) -> Tensor:
    """Mean logits (T, outputs, *tile) of tiles over flips and networks, on the CPU."""
    layout = runtime.memory_format(tiles.ndim - 2)
    tiles = tiles.to(runtime.device)
    total: Tensor | None = None
    flips_at_once = max(1, batch // tiles.shape[0])
    for first in range(0, len(combinations), flips_at_once):
        group = combinations[first : first + flips_at_once]
        copies = torch.cat([tiles.flip(_flip_dims(axes)) if axes else tiles for axes in group])
        copies = copies.contiguous(memory_format=layout)
        for network in networks:
            with runtime.autocast():
                logits = network(copies)
            for axes, part in zip(group, logits.float().chunk(len(group)), strict=True):
                part = part.flip(_flip_dims(axes)) if axes else part
                total = part.clone() if total is None else total.add_(part)
    assert total is not None
    return (total / (len(combinations) * len(networks))).cpu()


def _flip_dims(axes: tuple[int, ...]) -> list[int]:
    return [axis + 2 for axis in axes]


def _boxes(shape: tuple[int, ...], sliding: Sliding) -> list[tuple[slice, ...]]:
    """Boxes of the image (Z, Y, X) that hold one tile each; a 2D tile is one slice thick."""
    tile = sliding.tile
    if len(tile) == 2:
        starts = [(z, *yx) for z in range(shape[0]) for yx in tile_starts(shape[1:], tile, sliding.overlap)]
        tile = (1, *tile)
    else:
        starts = [tuple(start) for start in tile_starts(shape, tile, sliding.overlap)]
    return [tuple(slice(a, a + size) for a, size in zip(start, tile, strict=True)) for start in starts]


def _pad(image: Tensor, tile: tuple[int, ...]) -> tuple[Tensor, tuple[slice, ...]]:
    """The image with zeros around it so that a tile fits, and where the image lies inside."""
    least = (1, *tile) if len(tile) == 2 else tile
    padding: list[int] = []
    inner = []
    for length, size in zip(image.shape[1:], least, strict=True):
        missing = max(0, size - length)
        before = missing // 2
        padding = [before, missing - before, *padding]
        inner.append(slice(before, before + length))
    return (functional.pad(image, padding) if any(padding) else image), tuple(inner)
