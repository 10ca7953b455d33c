"""Order of methods, and whether it would be the same with other cases of the same kind.

Methods are ranked in each case and the ranks averaged over the cases, so that every case weighs the same and a distance
of 200 mm in one of them does not decide. The bootstrap over cases then shows how stable the order is.

Source: Wiesenfarth et al. 2021, "Methods and open-source toolkit for analyzing and visualizing challenge results",
Scientific Reports 11:2369 (challengeR).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import rankdata

from autoseg.evaluation.bootstrap import RESAMPLES, resampled_sums
from autoseg.metrics.table import Metric
from autoseg.studies.comparison.statistics.score_table import Column


@dataclass(frozen=True, eq=False)
class RankStability:
    """Final order of methods and the orders of resamples.

    Attributes:
        mean_rank: float64 (methods,), mean over the cases, 1 is best.
        place: int (methods,) by mean rank, 1 is best; equal mean ranks share the better place (1, 1, 3).
        shares: float64 (methods, methods), [m, k] the share of resamples in which method m has place k + 1.
        tau: Kendall's tau-b between the order of each resample and the final one, mean over the resamples where it
            exists; None where it exists in none (one method, or all equal).
        tau_interval: its 2.5 and 97.5 percentiles over the resamples.
    """

    mean_rank: np.ndarray
    place: np.ndarray
    shares: np.ndarray
    tau: float | None
    tau_interval: tuple[float, float] | None


def case_ranks(column: Column, metric: Metric) -> np.ndarray:
    """Ranks of the methods in each case, float64 (methods, n): 1 is best, equal scores share their mean rank.

    A missing distance, for which no bound is the worst value, ranks behind all others.
    """
    badness = column.values if metric.best == "lower" else -column.values
    if np.isinf(metric.range[1]) and metric.best == "lower":
        badness = np.where(column.filled, np.inf, badness)
    return np.asarray(rankdata(badness, axis=0), np.float64)


def rank_stability(ranks: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> RankStability:
    """Final order by mean rank, and how often resamples of the cases give each method each place.

    Args:
        ranks: (methods, n), of each case; n at least 1.
        seed: of the resamples, which are those of `bootstrap.mean_intervals` for as many cases.
    """
    methods, n = ranks.shape
    # Sums of half ranks are exact, so that equal ones compare as equal.
    total = ranks.sum(axis=1)
    resampled = resampled_sums(ranks, resamples=resamples, seed=seed)
    resampled_places = rankdata(resampled, method="min", axis=1).astype(int)
    taus = _kendall(total, resampled)
    defined = taus[~np.isnan(taus)]
    ends = np.percentile(defined, (2.5, 97.5)).tolist() if defined.size else None
    return RankStability(
        mean_rank=total / n,
        place=rankdata(total, method="min").astype(int),
        shares=np.array([np.bincount(row - 1, minlength=methods) for row in resampled_places.T]) / resamples,
        tau=float(defined.mean()) if defined.size else None,
        tau_interval=None if ends is None else (ends[0], ends[1]),
    )


def _kendall(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """tau-b of one order (methods,) and each of many (m, methods): (m,), NaN where either has all methods equal."""
    pairs = list(combinations(range(len(one)), 2))
    if not pairs:
        return np.full(len(many), np.nan)
    first, second = np.array(pairs).T
    one_signs, many_signs = np.sign(one[first] - one[second]), np.sign(many[:, first] - many[:, second])
    scale = np.sqrt(np.abs(one_signs).sum() * np.abs(many_signs).sum(axis=1))
    return np.divide(many_signs @ one_signs, scale, out=np.full(len(many), np.nan), where=scale > 0)
