"""Intervals are those of theory, and verdicts those that the figures ask for."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.metrics.table import METRICS
from autoseg.studies.benchmark.verdict import (
    Interval,
    bootstrap_intervals,
    few_of,
    give_verdict,
    judge,
    mean_of_labels,
    value_text,
)

DICE, HD95 = METRICS["dice"], METRICS["hd95"]
NAN = float("nan")


@pytest.mark.parametrize(
    ("published", "outcome"),
    [
        (0.89, "reproduced"),
        (0.88, "reproduced"),  # an end of the interval belongs to it
        (0.9, "reproduced"),
        (0.9049, "reproduced"),  # better than the interval, by less than 0.005
        (0.9051, "below"),
        (0.8799, "above"),
    ],
)
def test_a_ratio_is_judged_by_its_interval(published: float, outcome: str) -> None:
    assert judge(DICE, published, 0.89, Interval(low=0.88, high=0.9)) == outcome


@pytest.mark.parametrize(
    ("published", "outcome"), [(2.0, "reproduced"), (1.499, "above"), (2.501, "below"), (1.497, "above")]
)
def test_a_distance_has_no_slack(published: float, outcome: str) -> None:
    """Above means a larger value, which is worse here."""
    assert judge(HD95, published, 2.0, Interval(low=1.5, high=2.5)) == outcome


def test_without_an_interval_the_value_itself_counts() -> None:
    assert judge(DICE, 0.9, 0.9, None) == "reproduced"
    assert judge(DICE, 0.904, 0.9, None) == "reproduced"
    assert judge(DICE, 0.89, 0.9, None) == "above"


def test_the_interval_of_many_normal_values_is_the_one_of_theory() -> None:
    values = np.random.default_rng(3).normal(0.8, 0.1, (1500, 1))
    (label,), mean = bootstrap_intervals(values)
    error = 1.959964 * values.std() / np.sqrt(len(values))
    assert label is not None
    assert label == mean
    assert label.low == pytest.approx(values.mean() - error, abs=0.05 * error)
    assert label.high == pytest.approx(values.mean() + error, abs=0.05 * error)


def test_labels_of_a_case_are_drawn_together() -> None:
    """Labels that add up to the same in every case have a mean that never changes, though each does."""
    first = np.random.default_rng(5).uniform(0.2, 0.8, 40)
    labels, mean = bootstrap_intervals(np.stack([first, 1 - first], axis=1))
    assert mean is not None
    assert (mean.low, mean.high) == pytest.approx((0.5, 0.5))
    assert all(one is not None and one.high - one.low > 0.05 for one in labels)


def test_missing_values_do_not_count() -> None:
    values = np.array([[0.2, NAN, NAN], [0.4, 0.9, NAN], [0.6, 0.9, NAN]])
    assert mean_of_labels(values) == pytest.approx((0.4 + 0.9) / 2)
    labels, mean = bootstrap_intervals(values)
    assert labels[1] == Interval(low=0.9, high=0.9)
    assert labels[2] is None
    assert mean is not None
    assert mean.low < 0.65 < mean.high


def test_too_little_has_no_interval() -> None:
    assert bootstrap_intervals(np.array([[0.5, 0.6]])) == ((None, None), None)
    assert bootstrap_intervals(np.zeros((0, 1))) == ((None,), None)
    assert mean_of_labels(np.zeros((0, 2))) is None
    assert mean_of_labels(np.array([[NAN]])) is None


def test_the_same_values_give_the_same_interval() -> None:
    values = np.random.default_rng(1).random((30, 2))
    assert bootstrap_intervals(values) == bootstrap_intervals(values)
    assert bootstrap_intervals(values) != bootstrap_intervals(values, seed=1)


def test_a_verdict_says_both_values() -> None:
    interval = Interval(low=0.885, high=0.895)
    made = give_verdict(DICE, 0.8904, 0.8901, interval)
    assert made.outcome == "reproduced"
    assert made.text == "reproduced: Dice 0.8904 published, 0.8901 reproduced (95 % interval 0.8850 to 0.8950)."
    assert give_verdict(DICE, 0.91, 0.8901, interval).text.startswith("below: ")
    assert give_verdict(DICE, 0.87, 0.8901, interval, remarks=["It was warm."]).text.endswith(". It was warm.")


def test_what_cannot_be_compared_says_why_and_both_values_all_the_same() -> None:
    reasons = ["the training had 6471 steps of the published 250000", "one fold of five"]
    made = give_verdict(DICE, 0.8922, 0.8883, None, where="on fold 0", reasons=reasons)
    assert made.outcome == "not comparable"
    assert made.reasons == tuple(reasons)
    assert made.text == (
        "not comparable: the training had 6471 steps of the published 250000; one fold of five. "
        "Dice on fold 0: 0.8922 published, 0.8883 reproduced."
    )


def test_a_value_that_does_not_exist_is_a_reason() -> None:
    assert give_verdict(DICE, None, 0.9, None).reasons == ("nothing was published to compare with",)
    assert give_verdict(DICE, 0.9, None, None).reasons == ("no validated case has a value",)


def test_numbers_in_words() -> None:
    assert few_of(1, 5) == "one fold of five"
    assert few_of(3, 12) == "three folds of 12"
    assert value_text(DICE, 0.89) == "0.8900"
    assert value_text(HD95, 1.234) == "1.23 mm"
    assert value_text(HD95, None) == "-"
