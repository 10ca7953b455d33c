"""Order of methods: ranks with ties, and their stability against SciPy and resampling case by case."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scored_methods import dice_only

from autoseg.evaluation.bootstrap import resample_counts
from autoseg.metrics.table import METRICS
from autoseg.studies.comparison.statistics.ranking import case_ranks, rank_stability
from autoseg.studies.comparison.statistics.score_table import Column, score_table


def column(values: list[list[float]], filled: list[list[bool]] | None = None) -> Column:
    array = np.array(values)
    known = np.zeros(array.shape, bool) if filled is None else np.array(filled)
    return Column(tuple(f"c{i}" for i in range(array.shape[1])), array, known)


def test_higher_or_lower_is_better_and_ties_share_their_mean_rank() -> None:
    scores = column([[0.9, 0.5], [0.8, 0.5], [0.7, 0.5], [0.8, 0.4]])
    assert case_ranks(scores, METRICS["dice"]).T.tolist() == [[1, 2.5, 4, 2.5], [2, 2, 2, 4]]
    assert case_ranks(scores, METRICS["hd95"]).T.tolist() == [[4, 2.5, 1, 2.5], [3, 3, 3, 1]]


def test_a_missing_distance_ranks_behind_an_equal_one() -> None:
    scores = column([[7.0], [7.0], [3.0]], [[False], [True], [False]])
    assert case_ranks(scores, METRICS["hd95"]).T.tolist() == [[2, 3, 1]]
    assert case_ranks(column([[0.0], [0.0]], [[False], [True]]), METRICS["dice"]).T.tolist() == [[1.5, 1.5]]


def test_a_crash_costs_the_case() -> None:
    whole = dice_only([0.9, 0.9, 0.9])
    crashed = whole.with_(cases={case: rows for case, rows in whole.cases.items() if case != "c01"})
    table = score_table({"steady": dice_only([0.8, 0.8, 0.8]), "crashed": crashed})
    for metric in ("dice", "hd95"):
        ranks = case_ranks(table.column("liver", metric), METRICS[metric])
        assert ranks[:, 1].tolist() == [1, 2]


def test_stability_is_that_of_ranking_each_resample() -> None:
    ranks = stats.rankdata(np.random.default_rng(0).normal([[0], [0.3], [0.5], [1]], 1, (4, 12)), axis=0)
    found = rank_stability(ranks, resamples=300, seed=5)
    places, taus = [], []
    final = ranks.mean(axis=1)
    for drawn in resample_counts(12, 300, 5):
        mean = np.repeat(ranks, drawn, axis=1).mean(axis=1)
        places.append([1 + sum(other < own - 1e-9 for other in mean) for own in mean])
        taus.append(stats.kendalltau(final, np.round(mean, 9)).statistic)
    assert found.mean_rank == pytest.approx(final)
    assert found.place.tolist() == [1 + int((final < own).sum()) for own in final]
    for place in range(4):
        assert found.shares[:, place] == pytest.approx((np.array(places) == place + 1).mean(axis=0))
    assert found.tau == pytest.approx(np.nanmean(taus))
    assert found.tau_interval == pytest.approx(np.nanpercentile(taus, (2.5, 97.5)))


def test_a_method_that_always_wins_always_comes_first() -> None:
    found = rank_stability(np.array([[1.0] * 8, [2.0] * 8]))
    assert found.shares.tolist() == [[1, 0], [0, 1]]
    assert found.tau == 1
    assert found.tau_interval == (1, 1)


def test_renaming_methods_permutes_the_result() -> None:
    ranks = stats.rankdata(np.random.default_rng(1).normal(size=(3, 10)), axis=0)
    order = [2, 0, 1]
    one, other = rank_stability(ranks), rank_stability(ranks[order])
    assert np.array_equal(one.shares[order], other.shares)
    assert np.array_equal(one.place[order], other.place)
    assert one.tau == pytest.approx(other.tau)


def test_equal_methods_share_the_first_place() -> None:
    found = rank_stability(np.full((2, 5), 1.5))
    assert found.place.tolist() == [1, 1]
    assert found.shares.tolist() == [[1, 0], [1, 0]]
    assert found.tau is None
    assert rank_stability(np.ones((1, 4))).tau is None
