"""Means, medians and counts of undefined values over cases."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autoseg.evaluation.scores import long_table, summarise

CASES = {
    "b": {"liver": {"dice": 0.8, "hd95": 4.0}, "tumour": {"dice": None, "hd95": None}},
    "a": {"liver": {"dice": 0.9, "hd95": 2.0}, "tumour": {"dice": 0.4, "hd95": None}},
    "c": {"liver": {"dice": 0.4, "hd95": 3.0}, "tumour": {"dice": 0.0, "hd95": None}},
}


def test_undefined_values_enter_no_mean_and_are_counted() -> None:
    summary = summarise(CASES)
    assert summary.mean["liver"] == pytest.approx({"dice": 0.7, "hd95": 3.0})
    assert summary.mean["tumour"] == {"dice": pytest.approx(0.2), "hd95": None}
    assert summary.undefined == {"liver": {"dice": 0, "hd95": 0}, "tumour": {"dice": 1, "hd95": 3}}


def test_the_foreground_mean_is_over_the_labels() -> None:
    foreground = summarise(CASES).foreground_mean
    assert foreground["dice"] == pytest.approx((0.7 + 0.2) / 2)
    assert foreground["hd95"] == pytest.approx(3.0)  # the tumour has no value to enter


def test_spread() -> None:
    summary = summarise(CASES)
    assert summary.median["liver"]["dice"] == pytest.approx(0.8)
    assert summary.std["liver"]["dice"] == pytest.approx(np.std([0.8, 0.9, 0.4], ddof=1))
    assert summary.std["tumour"]["hd95"] is None
    assert summarise({"a": CASES["a"]}).std["liver"]["dice"] is None


def test_cases_come_back_sorted_and_unchanged() -> None:
    summary = summarise(CASES)
    assert list(summary.cases) == ["a", "b", "c"]
    assert summary.cases == CASES


def test_cases_may_have_different_labels() -> None:
    summary = summarise({"a": {"liver": {"dice": 0.5}}, "b": {"spleen": {"dice": 0.7}}})
    assert summary.mean == {"liver": {"dice": 0.5}, "spleen": {"dice": 0.7}}
    assert summary.undefined == {"liver": {"dice": 0}, "spleen": {"dice": 0}}


def test_it_is_json_without_nan() -> None:
    content = summarise(CASES).model_dump(mode="json")
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_no_cases() -> None:
    summary = summarise({})
    names = ["cases", "mean", "foreground_mean", "median", "std", "undefined", "errors"]
    assert list(summary.model_dump(mode="json")) == names
    assert not any(summary.model_dump(mode="json").values())
    assert summary.foreground_dice is None


def test_the_long_table_has_a_row_a_value() -> None:
    table = long_table(CASES)
    assert list(table.columns) == ["case", "label", "metric", "value"]
    assert len(table) == 12
    assert table["value"].isna().sum() == 4


def test_statistics_equal_those_of_pandas() -> None:
    rng = np.random.default_rng(0)
    cases = {
        f"case_{number}": {
            label: {metric: None if rng.random() < 0.2 else float(rng.normal()) for metric in ("dice", "hd95", "nsd")}
            for label in ("a", "b", "c")[: rng.integers(1, 4)]
        }
        for number in range(12)
    }
    summary = summarise(cases)
    groups = long_table(cases).groupby(["label", "metric"])["value"]
    for name, statistic in (("mean", groups.mean()), ("median", groups.median()), ("std", groups.std())):
        for (label, metric), value in statistic.items():
            assert getattr(summary, name)[label][metric] == pytest.approx(value, rel=1e-12)
    for (label, metric), count in (groups.size() - groups.count()).items():
        assert summary.undefined[label][metric] == count
    foreground = groups.mean().groupby("metric").mean()
    assert summary.foreground_mean == pytest.approx(dict(foreground), rel=1e-12)
