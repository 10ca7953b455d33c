"""Scores of many cases in one summary: means over the cases, and how many values there were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

CaseScores = Mapping[str, Mapping[str, float | None]]
"""Scores of one case: label -> metric -> value, None where it does not exist."""


def summarise(cases: Mapping[str, CaseScores]) -> dict[str, Any]:
    """Aggregates the scores of cases.

    Values that do not exist enter no statistic and are counted. As in nnU-Net, a label's mean is over the cases and the
    foreground mean is over the labels' means, so that a label that is rarely there weighs as much as the others.

    Args:
        cases: case id -> label -> metric -> value. Cases need not have the same labels or metrics.

    Returns:
        A dictionary that can be written as JSON, without NaN:
        "cases": as given, sorted by identifier;
        "mean", "median", "std": label -> metric -> value (std with n - 1; None for fewer than two values);
        "foreground_mean": metric -> mean of the labels' means;
        "undefined": label -> metric -> number of cases without a value.
        Without cases all are empty.
    """
    table = long_table(cases)
    groups = table.groupby(["label", "metric"], sort=False)["value"]
    means = groups.mean()
    return {
        "cases": {case: {label: dict(row) for label, row in cases[case].items()} for case in sorted(cases)},
        "mean": _nested(means),
        "foreground_mean": _flat(means.groupby("metric", sort=False).mean()),
        "median": _nested(groups.median()),
        "std": _nested(groups.std()),
        "undefined": _nested(groups.size() - groups.count()),
    }


def long_table(cases: Mapping[str, CaseScores]) -> pd.DataFrame:
    """One row a value: columns case, label, metric (str) and value (float64, NaN where it does not exist)."""
    rows = [
        (case, label, metric, np.nan if value is None else float(value))
        for case in sorted(cases)
        for label, scores in cases[case].items()
        for metric, value in scores.items()
    ]
    table = pd.DataFrame(rows, columns=["case", "label", "metric", "value"])
    return table.astype({"value": np.float64})


def _nested(statistic: pd.Series) -> dict[str, dict[str, float | int | None]]:
    """Label -> metric -> value from a series indexed by both."""
    result: dict[str, dict[str, float | int | None]] = {}
    for (label, metric), value in statistic.items():  # type: ignore[misc]
        result.setdefault(label, {})[metric] = _plain(value)
    return result


def _flat(statistic: pd.Series) -> dict[str, float | int | None]:
    return {str(metric): _plain(value) for metric, value in statistic.items()}


def _plain(value: Any) -> float | int | None:
    return None if np.isnan(value) else value.item() if isinstance(value, np.generic) else value
