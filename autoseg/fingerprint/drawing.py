"""How often each of n voxels is drawn with replacement, by the generator that nnU-Net v2 draws with.

`RandomState.randint(n)` takes of a random word the bits that can hold n - 1, and of the next word where they make n or
more. All cases start from one seed, so all whose n needs the same bits see the same numbers: these are made once, and
running counts of them answer for a case without drawing anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_SEED = 1234
_AT_ONCE = 1 << 18  # a draw from few cases need not stand in memory as a whole, and parts stay in the cache
_MOST_SHARED = 1 << 20  # draws per case up to which the numbers are kept: at most 24 MB for each of a few kinds of n
_BLOCK = 1 << 14  # numbers between two running counts


def count_draws(lengths: Sequence[int], size: int) -> list[np.ndarray]:
    """Counts of `size` draws with replacement from each channel of one case.

    The generator is seeded anew for every case and runs on from channel to channel.

    Args:
        lengths: voxels per channel; a channel without any takes part in no draw.

    Returns:
        (length,) int64 per channel: how often each voxel is drawn.
    """
    drawn = [length for length in lengths if length]
    if len(set(drawn)) == 1 and size * len(drawn) <= _MOST_SHARED:
        shared = _from_shared(drawn[0], size, len(drawn))
        if shared is not None:
            remaining = iter(shared)
            return [next(remaining) if length else np.zeros(0, np.int64) for length in lengths]
    rng = np.random.RandomState(_SEED)
    return [_draw(rng, length, size) for length in lengths]


def _draw(rng: np.random.RandomState, length: int, size: int) -> np.ndarray:
    counts = np.zeros(length, np.int64)
    at_once = max(_AT_ONCE, length)
    for start in range(0, size if length else 0, at_once):
        # the indices that RandomState.choice would draw
        index = rng.randint(0, length, size=min(at_once, size - start))
        counts += np.bincount(index, minlength=length)
    return counts


@dataclass(frozen=True)
class _Numbers:
    """The generator's first numbers of so many bits.

    Attributes:
        values: (blocks, numbers per block) int32.
        running: (blocks + 1, 2 ** bits) int32, how often each value is among the blocks before.
    """

    values: np.ndarray
    running: np.ndarray


@lru_cache(maxsize=4)
def _numbers(bits: int, draws: int) -> _Numbers:
    """Twice as many as are drawn and some more: at worst every other one is passed over."""
    kinds = 1 << bits
    block = max(_BLOCK, kinds)
    blocks = 2 * draws // block + 2
    values = np.random.RandomState(_SEED).randint(0, kinds, size=(blocks, block)).astype(np.int32)
    running = np.zeros((blocks + 1, kinds), np.int32)
    np.cumsum([np.bincount(part, minlength=kinds) for part in values], axis=0, out=running[1:])
    return _Numbers(values, running)


def _from_shared(length: int, size: int, channels: int) -> np.ndarray | None:
    """(channels, length) counts; None in the unlikely case that too many numbers are passed over."""
    numbers = _numbers((length - 1).bit_length(), size * channels)
    taken = numbers.running[:, :length].sum(axis=1)  # numbers below `length` before each block
    if taken[-1] < size * channels:
        return None
    counts = np.zeros((channels + 1, length), np.int64)
    for channel in range(1, channels + 1):
        last = int(np.searchsorted(taken, channel * size, side="right")) - 1
        counts[channel] = numbers.running[last, :length]
        if missing := channel * size - taken[last]:
            part = numbers.values[last]
            counts[channel] += np.bincount(part[part < length][:missing], minlength=length)
    return np.diff(counts, axis=0)
