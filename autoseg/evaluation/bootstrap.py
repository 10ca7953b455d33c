"""Bootstrap over cases: confidence intervals of means, for many quantities of the same cases at once.

A mean over a resample is a product of how often it holds each case and the cases' values, so that one table of counts
serves all methods, pairs of methods and metrics that have the same cases, and resampling costs one matrix product.

The cases are taken to be independent. Where several images are of one patient they are not, and intervals come out
too narrow. With fewer than about ten cases they do so in any case.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

RESAMPLES = 10_000
"""Resamples of cases; more move a 95 % interval's ends by less than a hundredth of its width."""

IntervalKind = Literal["bca", "percentile"]

_BLOCK = 500
"""Resamples that are drawn or multiplied at once, which bounds the memory."""


@lru_cache(maxsize=1)
def resample_counts(cases: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each resample holds each case, uint16 (resamples, cases), read-only.

    Each row sums up to the number of cases. The draw is keyed by (seed, cases): the same for equal arguments.
    """
    generator = np.random.default_rng((seed, cases))
    counts: np.ndarray = np.empty((resamples, cases), np.uint16)
    share = np.full(cases, 1 / cases)
    for start in range(0, resamples, _BLOCK):
        part = counts[start : start + _BLOCK]
        part[:] = generator.multinomial(cases, share, size=len(part))
    counts.flags.writeable = False
    return counts


def resampled_sums(values: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Sums over the cases of each resample.

    Args:
        values: float64 (quantities, n), n at least 1; a resample draws whole columns, so that pairs stay together.

    Returns:
        float64 (resamples, quantities).
    """
    counts = resample_counts(values.shape[1], resamples, seed)
    columns = np.ascontiguousarray(values.T, np.float64)
    return np.concatenate([counts[i : i + _BLOCK].astype(np.float64) @ columns for i in range(0, resamples, _BLOCK)])


def mean_intervals(
    values: np.ndarray,
    *,
    level: float = 0.95,
    kind: IntervalKind = "bca",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Confidence intervals of the means over cases.

    Args:
        values: float64 (quantities, n) without NaN, in any unit.
        level: share of repetitions that are to hold the true mean.
        kind: "percentile" takes the quantiles of the resampled means; "bca" moves them for bias and skewness, which
            serves better where a few cases differ much from the others.

    Returns:
        float64 (quantities, 2), lower and upper ends in the unit of the values; NaN for fewer than two cases. The two
        are equal where all values are.

    Source: Efron 1987, "Better bootstrap confidence intervals", JASA 82(397), eq. 2.3 and 6.6.
    """
    quantities, n = values.shape
    if n < 2:
        return np.full((quantities, 2), np.nan)
    means = resampled_sums(values, resamples=resamples, seed=seed) / n
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if kind == "percentile":
        return np.quantile(means, tails, axis=0).T
    shifted = _bca_tails(values, means, tails)
    return np.array([np.quantile(column, q) for column, q in zip(means.T, shifted, strict=True)]).reshape(-1, 2)


def _bca_tails(values: np.ndarray, means: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """Which quantiles of the resampled means (resamples, quantities) to take, (quantities, 2).

    The jackknife of a mean has a closed form: leaving a case out moves it in proportion to the case's deviation.
    """
    resamples = len(means)
    observed = values.mean(axis=1)
    below = ((means < observed).sum(axis=0) + (means <= observed).sum(axis=0)) / (2 * resamples)
    bias = ndtri(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples))[:, None]
    deviation = values - observed[:, None]
    spread = np.square(deviation).sum(axis=1) ** 1.5
    skew = np.divide((deviation**3).sum(axis=1), 6 * spread, out=np.zeros(len(values)), where=spread > 0)[:, None]
    moved = bias + ndtri(tails)
    return ndtr(bias + moved / (1 - skew * moved))
