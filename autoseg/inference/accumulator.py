"""Sums over overlapping tiles, of only the rows of an image that tiles still reach."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from autoseg.inference.tiling import PlacedTile

if TYPE_CHECKING:
    from jaxtyping import Float32

_CERTAIN = 30.0
"""Logit of background, and minus that of everything else, where no tile was computed: a probability of 1 - 1e-26."""

_MEMINFO = Path("/proc/meminfo")


def memory_bound() -> int:
    """Half of the memory that is available now, in bytes; without Linux's figures of it a quarter of a gigabyte."""
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024 // 2
    return 2**28


class Accumulator:
    """The mean of tiles by their weights, from the first row to the last; as many rows are held as a tile has.

    Args:
        channels: of the tiles.
        rows: of a tile.
        shape: of the padded image, (Z, Y, X).
        inner: where the image lies in it.
        device: where tiles are summed.
        bound: bytes beyond which the sums lie in a temporary file that is mapped into memory (in Python's folder for
            temporary files, which TMPDIR names).
    """

    def __init__(
        self,
        channels: int,
        rows: int,
        shape: tuple[int, ...],
        inner: tuple[slice, ...],
        device: torch.device,
        bound: int,
    ) -> None:
        self._inner, self._first = inner, 0
        self._sums = _zeros((channels, rows, *shape[1:]), device, bound)

    def add(self, placed: PlacedTile, tile: Float32[Tensor, " channel *tile"]) -> None:
        """Adds a tile (C, *tile) float32 that begins at the first row held."""
        _, y, x = placed.box
        target = self._sums[:, :, y, x]
        along_z, along_y, along_x = (weights.to(tile.device) for weights in placed.weights)
        plane = along_y[:, None] * along_x
        target.addcmul_(tile.reshape(target.shape), along_z[:, None, None] * plane)

    def up_to(self, row: int) -> Iterator[Float32[Tensor, "channel rows y x"]]:
        """Hands out the rows before `row`, which no tile will reach any more, and moves on to it.

        Yields:
            (C, rows, Y, X) float32 on the CPU, without the padding, together all rows.
        """
        while self._first < row:
            yield from self._step(min(row - self._first, self._sums.shape[1]))

    def _step(self, count: int) -> Iterator[Tensor]:
        rows, y, x = self._inner
        low, high = max(rows.start, self._first), min(rows.stop, self._first + count)
        if high > low:
            part = self._sums[:, low - self._first : high - self._first, y, x]
            yield part.to("cpu", copy=True, memory_format=torch.contiguous_format)
        kept = self._sums.shape[1] - count
        sums = self._sums.movedim(1, 0)
        # moved in chunks no longer than the distance, so that nothing is overwritten before it is read
        for start in range(0, kept, count):
            stop = min(start + count, kept)
            sums[start:stop] = sums[start + count : stop + count]
        sums[kept:] = 0
        self._first += count


def with_coverage(tiles: Float32[Tensor, "tiles channel *tile"]) -> Float32[Tensor, "tiles channel+1 *tile"]:
    """Tiles (T, K, *tile) with a last channel of ones, whose mean says how much of a voxel's weight was computed."""
    return torch.cat([tiles, tiles.new_ones((len(tiles), 1, *tiles.shape[2:]))], dim=1)


def covered(sums: Float32[Tensor, "channel rows y x"], *, regions: bool) -> Float32[Tensor, "channel-1 rows y x"]:
    """Means over the tiles that were computed; where there are none, background for certain.

    Args:
        sums: (K + 1, rows, Y, X) of tiles made by `with_coverage`, of which some were left out; overwritten.
        regions: the logits are regions, none of which is background; else the first is background.

    Returns:
        Logits (K, rows, Y, X).
    """
    logits, share = sums[:-1], sums[-1]
    empty = share == 0
    logits /= share.masked_fill(empty, 1)
    logits.masked_fill_(empty, -_CERTAIN)
    if not regions:
        logits[0].masked_fill_(empty, _CERTAIN)
    return logits


def _zeros(shape: tuple[int, ...], device: torch.device, bound: int) -> Tensor:
    if device.type != "cpu" or 4 * prod(shape) <= bound:
        return torch.zeros(shape, device=device)
    with tempfile.TemporaryFile(prefix="autoseg-") as file:  # the mapping lives on, the file has no name any more
        return torch.from_numpy(np.memmap(file, dtype=np.float32, mode="w+", shape=shape))
