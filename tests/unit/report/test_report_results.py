"""Statistics of the tables against the standard library, and the ranking of cases."""

from __future__ import annotations

import statistics as standard

import pytest

from autoseg.report.gather import CaseScores, mean_foreground_dice
from autoseg.report.metrics import label_name, number, shown
from autoseg.report.overlays import ranked
from autoseg.report.results import statistics


def case(name: str, **dice: float | None) -> CaseScores:
    return CaseScores(name, "0", {label: {"dice": value} for label, value in dice.items()})


def test_statistics_agree_with_the_standard_library() -> None:
    values = [0.9, 0.4, 0.75, 0.6]
    cases = [case(str(index), a=value) for index, value in enumerate(values)] + [case("none", a=None)]
    found = statistics(cases, "a", "dice")
    assert (found.defined, found.undefined) == (4, 1)
    assert found.mean == pytest.approx(standard.mean(values))
    assert found.median == pytest.approx(standard.median(values))
    assert found.std == pytest.approx(standard.stdev(values))
    assert (found.min, found.max) == (0.4, 0.9)


def test_statistics_without_values_do_not_exist() -> None:
    found = statistics([case("x", a=None)], "a", "dice")
    assert (found.defined, found.undefined) == (0, 1)
    assert (found.mean, found.median, found.std, found.min, found.max) == (None,) * 5
    assert statistics([case("x", a=0.5)], "a", "dice").std is None
    assert statistics([case("x", a=0.5)], "b", "dice").undefined == 0


def test_foreground_mean_is_the_mean_of_the_labels_means() -> None:
    cases = [case("x", a=1.0, b=0.2), case("y", a=0.5, b=None), case("z", a=0.0, b=None)]
    assert mean_foreground_dice(cases) == pytest.approx((0.5 + 0.2) / 2)
    assert mean_foreground_dice([case("x", a=None)]) is None
    assert mean_foreground_dice([]) is None


def test_ranking_names_best_median_and_worst() -> None:
    cases = tuple(case(name, a=value) for name, value in [("p", 0.1), ("q", 0.9), ("r", 0.5), ("s", 0.7), ("t", 0.3)])
    assert [(rank, one.id) for rank, one, _ in ranked(cases)] == [("best", "q"), ("median", "r"), ("worst", "p")]
    assert [(rank, one.id) for rank, one, _ in ranked(cases[:2])] == [("best", "q"), ("worst", "p")]
    assert [rank for rank, _, _ in ranked(cases[:1])] == ["only"]
    assert ranked((case("x", a=None),)) == []


def test_counts_are_not_metrics_and_dice_comes_first() -> None:
    assert [metric.name for metric in shown(["tp", "iou", "hd95", "volume_ref", "dice"])] == ["dice", "hd95", "iou"]


def test_numbers_and_names_as_shown() -> None:
    assert (number(None), number(0.87654), number(12.345, "mm")) == ("–", "0.877", "12.35")
    assert (label_name("3"), label_name("liver")) == ("label 3", "liver")
