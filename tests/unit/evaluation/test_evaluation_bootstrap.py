"""Intervals of means: against SciPy's bootstrap and known coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from autoseg.evaluation.bootstrap import IntervalKind, mean_intervals, resample_counts, resampled_sums


@pytest.mark.parametrize(("kind", "scipys"), [("percentile", "percentile"), ("bca", "BCa")])
def test_intervals_are_scipys(kind: IntervalKind, scipys: str) -> None:
    generator = np.random.default_rng(1)
    values = np.stack([generator.normal(0.02, 0.05, 30), generator.exponential(0.1, 30), generator.beta(9, 2, 30)])
    found = mean_intervals(values, kind=kind)
    for row, ends in zip(values, found, strict=True):
        result = stats.bootstrap((row,), np.mean, n_resamples=10_000, method=scipys, rng=generator)
        known = result.confidence_interval
        # The ends of 10 000 resamples have a Monte-Carlo error of about 0.03 standard errors each.
        assert ends == pytest.approx((known.low, known.high), abs=0.15 * result.standard_error)


def test_a_skewed_quantity_moves_the_interval_towards_its_tail() -> None:
    values = np.random.default_rng(0).exponential(1, (1, 25))
    plain, corrected = mean_intervals(values, kind="percentile")[0], mean_intervals(values)[0]
    assert corrected[0] > plain[0]
    assert corrected[1] > plain[1]


def test_the_interval_mirrors_and_scales_with_the_values() -> None:
    values = np.random.default_rng(2).gamma(2, 1, (1, 20))
    low, high = mean_intervals(values)[0]
    assert mean_intervals(10 - 3 * values)[0] == pytest.approx((10 - 3 * high, 10 - 3 * low), abs=1e-3)


def test_quantities_do_not_know_each_other() -> None:
    values = np.random.default_rng(3).normal(size=(3, 15))
    together = mean_intervals(values)
    assert together == pytest.approx(np.concatenate([mean_intervals(row[None]) for row in values]), abs=1e-12)
    assert np.array_equal(mean_intervals(values), together)
    assert not np.array_equal(mean_intervals(values, seed=1), together)


def test_equal_values_have_no_width_and_single_ones_no_interval() -> None:
    assert mean_intervals(np.full((1, 9), 0.25)).tolist() == [[0.25, 0.25]]
    assert mean_intervals(np.zeros((1, 9))).tolist() == [[0.0, 0.0]]
    assert np.isnan(mean_intervals(np.ones((2, 1)))).all()
    assert mean_intervals(np.ones((2, 0))).shape == (2, 2)


def test_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(4)
    values = generator.normal(1, 2, (400, 40))  # 400 experiments of 40 cases
    ends = mean_intervals(values, resamples=2000)
    covered = ((ends[:, 0] <= 1) & (ends[:, 1] >= 1)).mean()
    assert 0.90 <= covered <= 0.98


def test_resamples_hold_as_many_cases_as_there_are() -> None:
    counts = resample_counts(7, 1200, 0)
    assert counts.shape == (1200, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(7), abs=0.12)
    assert counts.var() == pytest.approx(6 / 7, rel=0.1)  # binomial: n p (1 - p)


def test_sums_are_those_of_the_resampled_cases() -> None:
    values = np.random.default_rng(5).normal(size=(2, 6))
    counts = resample_counts(6, 50, 3)
    sums = resampled_sums(values, resamples=50, seed=3)
    for drawn, total in zip(counts, sums, strict=True):
        assert total == pytest.approx(np.repeat(values, drawn, axis=1).sum(axis=1))
