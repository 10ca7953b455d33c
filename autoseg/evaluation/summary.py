"""Scores of many cases in one summary: means over the cases, and how many values there were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
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
    columns = _columns(cases)
    means = _of_known(np.mean, columns)
    by_metric: dict[str, list[float]] = {}
    for row in means.values():
        for metric, value in row.items():
            by_metric.setdefault(metric, []).extend([] if value is None else [value])
    return {
        "cases": {case: {label: dict(row) for label, row in cases[case].items()} for case in sorted(cases)},
        "mean": means,
        "foreground_mean": {metric: float(np.mean(found)) if found else None for metric, found in by_metric.items()},
        "median": _of_known(np.median, columns),
        "std": _of_known(lambda values: np.std(values, ddof=1), columns, least=2),
        "undefined": {
            label: {metric: values.count(None) for metric, values in row.items()} for label, row in columns.items()
        },
    }


def long_table(cases: Mapping[str, CaseScores]) -> pd.DataFrame:
    """One row a value: columns case, label, metric (str) and value (float64, NaN where it does not exist)."""
    import pandas as pd  # here, since it takes longer to import than a small data set to evaluate

    rows = [
        (case, label, metric, np.nan if value is None else float(value))
        for case in sorted(cases)
        for label, scores in cases[case].items()
        for metric, value in scores.items()
    ]
    table = pd.DataFrame(rows, columns=["case", "label", "metric", "value"])
    return table.astype({"value": np.float64})


def _columns(cases: Mapping[str, CaseScores]) -> dict[str, dict[str, list[float | None]]]:
    """Label -> metric -> values of the cases that have such a row, in the cases' order."""
    columns: dict[str, dict[str, list[float | None]]] = {}
    for case in sorted(cases):
        for label, scores in cases[case].items():
            row = columns.setdefault(label, {})
            for metric, value in scores.items():
                row.setdefault(metric, []).append(None if value is None or np.isnan(value) else value)
    return columns


def _of_known(
    statistic: Callable[[np.ndarray], Any], columns: Mapping[str, Mapping[str, list[float | None]]], least: int = 1
) -> dict[str, dict[str, float | None]]:
    """A statistic of the values that exist; None where they are fewer than `least`."""
    result: dict[str, dict[str, float | None]] = {}
    for label, row in columns.items():
        result[label] = {}
        for metric, values in row.items():
            known = np.array([value for value in values if value is not None], np.float64)
            result[label][metric] = float(statistic(known)) if len(known) >= least else None
    return result
