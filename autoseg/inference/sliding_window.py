"""Logits of a whole image by sliding a network over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.inference.rows import StreamedLogits
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


def predict_logits(
    networks: Sequence[nn.Module], image: Tensor, outputs: int, sliding: Sliding, runtime: Runtime
) -> Tensor:
    """Logits of a whole image at once, (outputs, Z, Y, X) float32 on the CPU; see `slide`."""
    return slide(networks, image, outputs, sliding, runtime).take(0, image.shape[1])


def slide(
    networks: Sequence[nn.Module], image: Tensor, outputs: int, sliding: Sliding, runtime: Runtime
) -> StreamedLogits:
    """Logits averaged over networks, mirror copies and overlapping tiles, computed as their rows are taken.

    Tiles go through the image from the first row (Z) to the last, and a row is handed out when no later tile reaches
    it, so that the sums of one layer of tiles are all that is held.

    Args:
        networks: in evaluation mode, on the runtime's device; usually one a fold.
        image: (C, Z, Y, X) float32, preprocessed; padded here with zeros where smaller than a tile.
        outputs: channels of the logits.
        sliding: tiles, overlap and mirroring.
        runtime: device, precision and layout.
    """
    z, y, x = image.shape[1:]
    return StreamedLogits((outputs, z, y, x), _rows(networks, image, outputs, sliding, runtime))


@torch.inference_mode()
def _rows(
    networks: Sequence[nn.Module], image: Tensor, outputs: int, sliding: Sliding, runtime: Runtime
) -> Iterator[Tensor]:
    """Finished rows (outputs, rows, Y, X) of the image without its padding, in order."""
    image, inner = _pad(image, sliding.tile)
    shape = tuple(image.shape[1:])
    weight = importance(sliding.tile)
    boxes = _boxes(shape, sliding)
    combinations = mirror_combinations(sliding.mirror_axes)
    tiles_at_once = max(1, sliding.batch // len(combinations))
    layer = _Layer(outputs, weight.reshape(-1, *weight.shape[-2:]), shape, inner)
    for first in range(0, len(boxes), tiles_at_once):
        group = boxes[first : first + tiles_at_once]
        tiles = torch.stack([image[(slice(None), *box)].reshape(-1, *sliding.tile) for box in group])
        result = _mirrored(networks, tiles, combinations, sliding.batch, runtime) * weight
        for box, tile in zip(group, result, strict=True):
            yield from layer.up_to(box[0].start)
            layer.add(box, tile)
    yield from layer.up_to(shape[0])


class _Layer:
    """Sums of the rows that tiles still reach: as many as a tile has, wherever they are now.

    Args:
        outputs: channels of the logits.
        weight: importance of a tile's voxels, (Z, Y, X).
        shape: of the padded image.
        inner: where the image lies in it.
    """

    def __init__(self, outputs: int, weight: Tensor, shape: tuple[int, ...], inner: tuple[slice, ...]) -> None:
        self._weight, self._inner, self._first = weight, inner, 0
        self._logits = torch.zeros((outputs, weight.shape[0], *shape[1:]))
        self._weights = torch.zeros((weight.shape[0], *shape[1:]))

    def add(self, box: tuple[slice, ...], tile: Tensor) -> None:
        """Adds a tile (K, *tile), already weighted, that begins at the layer's first row."""
        target = self._logits[(slice(None), slice(None), *box[1:])]
        target += tile.reshape(target.shape)
        self._weights[(slice(None), *box[1:])] += self._weight

    def up_to(self, row: int) -> Iterator[Tensor]:
        """Hands out the rows before `row`, which no tile will reach any more, and moves on to it."""
        count = row - self._first
        if count <= 0:
            return
        rows, y, x = self._inner
        low, high = max(rows.start, self._first), min(rows.stop, row)
        if high > low:
            part = slice(low - self._first, high - self._first)
            yield self._logits[:, part, y, x] / self._weights[part, y, x]
        kept = self._weights.shape[0] - count
        for sums in (self._logits.movedim(1, 0), self._weights):
            if kept > 0:
                # moved in chunks no longer than the distance, so that nothing is overwritten before it is read
                for start in range(0, kept, count):
                    stop = min(start + count, kept)
                    sums[start:stop] = sums[start + count : stop + count]
            sums[max(kept, 0) :] = 0
        self._first = row


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
