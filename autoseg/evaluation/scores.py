"""Scores of many cases in one record: a value per case, label and metric, their means, and what has no score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ConfigDict, SerializerFunctionWrapHandler, model_serializer

from autoseg.evaluation.odd_values import OddValue
from autoseg.records import Record, finite

if TYPE_CHECKING:
    import pandas as pd

FOREGROUND = "foreground_mean"
"""Name of the mean over labels beside the labels' own names."""

Score = float | int | None
"""One number, whole for counts; None where it does not exist."""

ScoreRows = Mapping[str, Mapping[str, Score]]
"""Scores of one case: label -> metric -> value. A task may have rows that are not about a label; these have no Dice."""


class Scores(Record):
    """What `evaluate` returns and writes; a fold's validation/summary.json holds the same.

    Values that do not exist (None) enter no statistic and are counted. As in nnU-Net, a label's mean is over the cases
    and the foreground mean is over the labels' means, so that a label that is rarely there weighs as much as the
    others. Without cases all statistics are empty.

    Attributes:
        cases: identifier -> label -> metric -> value, sorted by identifier. A label that was not looked for in a case
            has no row there.
        mean, median, std: label -> metric -> value (std with n - 1; None for fewer than two values).
        foreground_mean: metric -> mean of the labels' means.
        undefined: label -> metric -> number of cases without a value.
        errors: identifier -> message, of cases that cannot be compared; they enter no statistic.
        missing_predictions, extra_predictions: identifiers found on one side only; None where nobody looked for them,
            as with pairs that are given.
        odd_values: label values that references or predictions have alone, and those that are not scored because they
            hardly occur or are not among the labels asked for.
    """

    model_config = ConfigDict(extra="ignore")

    cases: dict[str, dict[str, dict[str, Score]]]
    mean: dict[str, dict[str, float | None]] = {}
    foreground_mean: dict[str, float | None] = {}
    median: dict[str, dict[str, float | None]] = {}
    std: dict[str, dict[str, float | None]] = {}
    undefined: dict[str, dict[str, int]] = {}
    errors: dict[str, str] = {}
    missing_predictions: tuple[str, ...] | None = None
    extra_predictions: tuple[str, ...] | None = None
    odd_values: tuple[OddValue, ...] = ()

    @property
    def foreground_dice(self) -> float | None:
        """Mean foreground Dice; None if no label of any case has one."""
        return self.foreground_mean.get("dice")

    @property
    def counted(self) -> dict[str, int]:
        """Cases that have a row of each label: where it was looked for."""
        return {label: sum(label in rows for rows in self.cases.values()) for label in self.mean}

    @property
    def dice(self) -> dict[str, float | None]:
        """Mean Dice of each label; rows that are not about a label are left out."""
        return {label: row["dice"] for label, row in self.mean.items() if "dice" in row}

    @model_serializer(mode="wrap")
    def _write(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields, without those about unmatched files where nobody looked for them, and odd values without any."""
        written = serialize(self)
        absent = [name for name in ("missing_predictions", "extra_predictions") if written[name] is None]
        absent += [] if self.odd_values else ["odd_values"]
        return {name: value for name, value in written.items() if name not in absent}


def summarise(
    cases: Mapping[str, ScoreRows],
    *,
    errors: Mapping[str, str] | None = None,
    missing_predictions: Iterable[str] | None = None,
    extra_predictions: Iterable[str] | None = None,
    odd_values: Iterable[OddValue] = (),
) -> Scores:
    """Aggregates the scores of cases.

    Args:
        cases: identifier -> label -> metric -> value. Cases need not have the same labels or metrics; NaN counts as a
            value that does not exist.
        errors: identifier -> message, of cases that have no scores.
        missing_predictions, extra_predictions, odd_values: as `Scores` has them.
    """
    columns = _columns(cases)
    means = _of_values(np.mean, columns)
    by_metric: dict[str, list[float]] = {}
    for row in means.values():
        for metric, value in row.items():
            by_metric.setdefault(metric, []).extend([] if value is None else [value])
    statistics = {
        "mean": means,
        "foreground_mean": {metric: float(np.mean(scores)) if scores else None for metric, scores in by_metric.items()},
        "median": _of_values(np.median, columns),
        "std": _of_values(lambda values: np.std(values, ddof=1), columns, least=2),
        "undefined": {
            label: {metric: values.count(None) for metric, values in row.items()} for label, row in columns.items()
        },
    }
    return Scores(
        cases={case: {label: _existing(row) for label, row in cases[case].items()} for case in sorted(cases)},
        **finite(statistics),
        errors=dict(sorted((errors or {}).items())),
        missing_predictions=None if missing_predictions is None else tuple(missing_predictions),
        extra_predictions=None if extra_predictions is None else tuple(extra_predictions),
        odd_values=tuple(odd_values),
    )


def long_table(cases: Mapping[str, ScoreRows]) -> pd.DataFrame:
    """One row per value: columns case, label, metric (str) and value (float64, NaN where it does not exist)."""
    import pandas as pd  # here, since it takes longer to import than a small data set to evaluate

    rows = [
        (case, label, metric, np.nan if value is None else float(value))
        for case in sorted(cases)
        for label, scores in cases[case].items()
        for metric, value in scores.items()
    ]
    table = pd.DataFrame(rows, columns=["case", "label", "metric", "value"])
    return table.astype({"value": np.float64})


def _existing(row: Mapping[str, Score]) -> dict[str, Score]:
    """The row with None for what is no number."""
    return {metric: value if value is None or isfinite(value) else None for metric, value in row.items()}


def _columns(cases: Mapping[str, ScoreRows]) -> dict[str, dict[str, list[float | None]]]:
    """Label -> metric -> values of the cases that have such a row, in the cases' order."""
    columns: dict[str, dict[str, list[float | None]]] = {}
    for case in sorted(cases):
        for label, scores in cases[case].items():
            row = columns.setdefault(label, {})
            for metric, value in scores.items():
                row.setdefault(metric, []).append(None if value is None or isnan(value) else value)
    return columns


def _of_values(
    statistic: Callable[[np.ndarray], Any], columns: Mapping[str, Mapping[str, list[float | None]]], least: int = 1
) -> dict[str, dict[str, float | None]]:
    """A statistic of the values that exist; None where they are fewer than `least`."""
    result: dict[str, dict[str, float | None]] = {}
    for label, row in columns.items():
        result[label] = {}
        for metric, values in row.items():
            numbers = np.array([value for value in values if value is not None], np.float64)
            result[label][metric] = float(statistic(numbers)) if len(numbers) >= least else None
    return result
