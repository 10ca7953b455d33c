"""Statistics over voxels drawn from all cases, without holding the drawn voxels.

nnU-Net v2 draws the same number of foreground voxels from every case, 100 million in total and with replacement,
and takes mean, deviation and percentiles of the pool. Drawing N of n voxels gives only n distinct values and how
often each was drawn, so a sample is kept as values and counts: the same numbers from hundreds of times less memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from autoseg.data.image import IntensityStatistics
from autoseg.fingerprint.drawing import count_draws

POOL_SIZE = 100_000_000
"""Voxels drawn from the whole data set (nnU-Net v2)."""

_MOST_VALUES = 1 << 22  # distinct values kept in a pool: exact below, ranks off by less than a millionth above
_MOST_OF_CASE = 1 << 20  # the same for one case, so that a worker sends little


@dataclass(frozen=True)
class IntensitySample:
    """A weighted sample: `values` float32, ascending and distinct, `counts` int64, how often each was drawn."""

    values: np.ndarray
    counts: np.ndarray


EMPTY = IntensitySample(np.empty(0, np.float32), np.empty(0, np.int64))


def draw(channels: Iterable[np.ndarray], size: int) -> tuple[IntensitySample, ...]:
    """Draws `size` voxels with replacement from each channel of one case, as nnU-Net v2 does.

    The generator is seeded anew for every case and runs on from channel to channel.

    Args:
        channels: (n,) foreground intensities per channel, in the voxels' order in the image.
    """
    channels = tuple(channels)
    counts = count_draws([len(values) for values in channels], size)
    return tuple(
        _coarsen(_distinct(values.astype(np.float32, copy=False), drawn), _MOST_OF_CASE) if len(values) else EMPTY
        for values, drawn in zip(channels, counts, strict=True)
    )


class Pool:
    """Adds up the samples of all cases, channel by channel, in bounded memory."""

    def __init__(self, channels: int) -> None:
        self._samples: list[list[IntensitySample]] = [[] for _ in range(channels)]

    def add(self, samples: Iterable[IntensitySample]) -> None:
        """Takes in one case: a sample per channel."""
        for held, sample in zip(self._samples, samples, strict=True):
            held.append(sample)
            if sum(len(part.values) for part in held) > 2 * _MOST_VALUES:
                held[:] = [_merge(held)]

    @property
    def is_empty(self) -> bool:
        """Whether no case had any foreground."""
        return not any(len(sample.values) for held in self._samples for sample in held)

    def statistics(self) -> tuple[IntensityStatistics, ...]:
        """Statistics per channel over everything added; NaN throughout if that is nothing."""
        return tuple(statistics(_merge(held)) for held in self._samples)


def statistics(sample: IntensitySample) -> IntensityStatistics:
    """Mean, deviation, range and percentiles (linear between order statistics, as `numpy.percentile`).

    An empty sample gives NaN throughout.
    """
    if not len(sample.values):
        return IntensityStatistics(*[float("nan")] * 7)
    values = sample.values.astype(np.float64)
    mean = np.average(values, weights=sample.counts)
    low, median, high = _percentiles(sample, (0.5, 50.0, 99.5))
    return IntensityStatistics(
        mean=float(mean),
        median=median,
        std=float(np.sqrt(np.average((values - mean) ** 2, weights=sample.counts))),
        min=float(values[0]),
        max=float(values[-1]),
        percentile_00_5=low,
        percentile_99_5=high,
    )


def exact_statistics(values: np.ndarray) -> IntensityStatistics | None:
    """The same of all given values, each counted once; None without values."""
    if not len(values):
        return None
    return statistics(_distinct(values.astype(np.float32, copy=False), np.ones(len(values), np.int64)))


def _merge(samples: Iterable[IntensitySample]) -> IntensitySample:
    samples = [EMPTY, *samples]
    values = np.concatenate([sample.values for sample in samples])
    counts = np.concatenate([sample.counts for sample in samples])
    return _coarsen(_distinct(values, counts), _MOST_VALUES)


def _distinct(values: np.ndarray, counts: np.ndarray) -> IntensitySample:
    """Sorts, drops what was never drawn and adds up the counts of equal values."""
    drawn = counts > 0
    values, counts = values[drawn], counts[drawn]
    order = np.argsort(values)
    values, counts = values[order], counts[order]
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))[: len(values)]
    return IntensitySample(values[first], np.add.reduceat(counts, first) if len(first) else EMPTY.counts)


def _coarsen(sample: IntensitySample, most: int) -> IntensitySample:
    """At most about `most` groups of equal total count, each at its median value; the extremes stay.

    A sample with fewer distinct values is unchanged.
    """
    if len(sample.values) <= most:
        return sample
    ranks = np.cumsum(sample.counts)
    group = (ranks - 1) * most // ranks[-1]
    group[0], group[-1] = -1, most  # the least and the greatest value remain groups of their own
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    last = np.append(first[1:], len(group))
    return IntensitySample(sample.values[(first + last - 1) // 2], np.add.reduceat(sample.counts, first))


def _percentiles(sample: IntensitySample, percentiles: tuple[float, ...]) -> list[float]:
    ranks = np.cumsum(sample.counts)
    position = (ranks[-1] - 1) * np.asarray(percentiles) / 100
    below = np.floor(position)
    low = sample.values[np.searchsorted(ranks, below, side="right")].astype(np.float64)
    high = sample.values[np.searchsorted(ranks, np.minimum(below + 1, ranks[-1] - 1), side="right")].astype(np.float64)
    return (low + (high - low) * (position - below)).tolist()
