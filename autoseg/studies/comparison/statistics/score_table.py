"""Scores of several methods on the same cases: aligned, and with a rule for every score that does not exist.

A method's score of a label in a case can be missing for one of these reasons:

- The reference lacks the label, so that there is nothing to agree with. The case and label are left out for all
  methods, also for one that painted something there: all are judged by the same cases, whoever else takes part. How
  many cases these are is counted, and so is how often each method painted something (`false_alarms`).
- The method has no result for the case: it crashed, or its file could not be compared. It gets the worst value, and the
  case is listed under `failures`.
- The method left out a label that the reference has, so that distances and precision do not exist (Dice is 0). It gets
  the worst value, and the case is counted under `missed`.
- The metric has no value for this reference, whatever is predicted (specificity where the label fills the image). Left
  out for all methods.

The worst value is the bound of the metric (0 for Dice and NSD). A distance without a bound gets the diagonal of the
image if that is known, else the largest value that any method has for the label in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isinf

import numpy as np

from autoseg.errors import ConfigurationError
from autoseg.evaluation.scores import FOREGROUND, Score, Scores
from autoseg.log import counted
from autoseg.metrics.table import METRICS, Metric, select
from autoseg.records import unknown_name

NO_PREDICTION = "no prediction"
"""Reason of a failure about which nothing else is known."""


@dataclass(frozen=True, eq=False)
class Column:
    """One label and metric: the cases that have a value, the same ones for all methods.

    Attributes:
        cases: identifiers, n of them; none where the metric never exists.
        values: float64 (methods, n), without NaN.
        filled: bool (methods, n), where a worst value stands for a missing one.
    """

    cases: tuple[str, ...]
    values: np.ndarray
    filled: np.ndarray


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of methods by case, label and metric.

    Attributes:
        methods: names in the order given.
        cases: identifiers, sorted.
        labels: names; with several labels the last is `FOREGROUND`, the mean over those that a case's reference has.
        metrics: names from `METRICS`.
        values: float64 (methods, cases, labels, metrics); NaN where a case is left out, then for all methods.
        filled: bool of that shape, where a worst value stands for a missing one.
        failures: method -> case -> reason, for cases without a result; methods without failures are there too.
        missed: method -> label -> number of cases with a result in which nothing of the label was painted.
        absent: label -> number of cases whose reference lacks the label.
        false_alarms: method -> label -> number of those in which the method painted it.
    """

    methods: tuple[str, ...]
    cases: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    values: np.ndarray
    filled: np.ndarray
    failures: Mapping[str, Mapping[str, str]]
    missed: Mapping[str, Mapping[str, int]]
    absent: Mapping[str, int]
    false_alarms: Mapping[str, Mapping[str, int]]

    def column(self, label: str, metric: str) -> Column:
        """The scores of one label and metric without the cases that are left out.

        Raises:
            ConfigurationError: the table has no such label or metric.
        """
        at = (..., _index("label", label, self.labels), _index("metric", metric, self.metrics))
        values = self.values[at]
        complete = ~np.isnan(values).any(axis=0)
        cases = tuple(case for case, kept in zip(self.cases, complete, strict=True) if kept)
        return Column(cases, values[:, complete], self.filled[at][:, complete])


def score_table(
    results: Mapping[str, Scores],
    *,
    cases: Iterable[str] | None = None,
    metrics: Iterable[str] | None = None,
    diagonals: Mapping[str, float] | None = None,
) -> ScoreTable:
    """Aligns the results of several methods by case identifier.

    Args:
        results: method -> its scores, as `evaluate.evaluate` returns them (`Scores.load` reads its file, and a fold's
            validation/summary.json).
        cases: identifiers that count; a method without one of them failed there. Without them all cases that any of
            the results names. A case that every method failed on is taken to have all labels.
        metrics: names from `METRICS`; by default those that every scored row has.
        diagonals: case -> length of the image's diagonal in mm, the worst of all distances.

    Raises:
        ConfigurationError: no methods, cases, labels or metrics; a metric that is not known or was not computed; or
            results that cannot be compared, since they were scored against different references or label schemes.
    """
    ids = tuple(sorted(set(_named(results) if cases is None else cases)))
    labels = tuple(dict.fromkeys(label for r in results.values() for id in ids for label in r.cases.get(id, {})))
    if not labels:
        raise ConfigurationError(
            "no method has a score",
            got=f"{counted(len(results), 'method')}, {counted(len(ids), 'case')}",
            expected="at least one method with one scored case",
            remedy="evaluate the predictions first (autoseg evaluate)",
        )
    chosen = _metrics(results, ids, metrics)
    gathered = _gather(results, ids, labels, chosen)
    values, filled = _fill(gathered, chosen, [(diagonals or {}).get(id, np.nan) for id in ids])
    absent, present = gathered.absent, ~gathered.absent & ~gathered.failed[:, :, None]
    if len(labels) > 1:
        values, filled = _with_foreground(values, filled)
    return ScoreTable(
        methods=tuple(results),
        cases=ids,
        labels=(*labels, FOREGROUND) if len(labels) > 1 else labels,
        metrics=tuple(metric.name for metric in chosen),
        values=values,
        filled=filled,
        failures={method: _failures(result, ids) for method, result in results.items()},
        missed=_counts(results, labels, present & (gathered.predicted == 0)),
        absent=dict(zip(labels, absent.sum(axis=0).tolist(), strict=True)),
        false_alarms=_counts(results, labels, absent & (gathered.predicted > 0)),
    )


@dataclass(frozen=True, eq=False)
class _Gathered:
    """What the results say.

    Values (methods, cases, labels, metrics), NaN where there is none; predicted voxels (methods, cases, labels), NaN
    without a result; failed (methods, cases); absent (cases, labels).
    """

    values: np.ndarray
    predicted: np.ndarray
    failed: np.ndarray
    absent: np.ndarray


def _named(results: Mapping[str, Scores]) -> Iterable[str]:
    for result in results.values():
        yield from result.cases
        yield from result.errors
        yield from result.missing_predictions or ()


def _metrics(results: Mapping[str, Scores], ids: tuple[str, ...], names: Iterable[str] | None) -> tuple[Metric, ...]:
    rows = [row for result in results.values() for id in ids for row in result.cases.get(id, {}).values()]
    common = [name for name in METRICS if all(name in row for row in rows)]
    chosen = select(common if names is None else names)
    lacking = [metric.name for metric in chosen if metric.name not in common]
    if lacking or not chosen:
        raise ConfigurationError(
            "a metric was not computed for all methods and cases",
            got=", ".join(lacking) or "no metric",
            expected="one of " + ", ".join(common) if common else "at least one common metric",
            remedy="evaluate all methods with the same metrics",
        )
    return chosen


def _gather(
    results: Mapping[str, Scores], ids: tuple[str, ...], labels: tuple[str, ...], metrics: tuple[Metric, ...]
) -> _Gathered:
    shape = (len(results), len(ids), len(labels))
    values, predicted, expected = (
        np.full((*shape, len(metrics)), np.nan),
        np.full(shape, np.nan),
        np.full(shape, np.nan),
    )
    failed = np.array([[id not in result.cases for id in ids] for result in results.values()])
    for m, (method, result) in enumerate(results.items()):
        for c, id in enumerate(ids):
            for label, row in result.cases.get(id, {}).items():
                at = m, c, labels.index(label)
                values[at] = [np.nan if row[metric.name] is None else row[metric.name] for metric in metrics]
                predicted[at], expected[at] = _voxels(row, f"{method}: {id}: {label}")
    # A label outside the scheme of one evaluation is in neither of its files.
    scored = ~failed[:, :, None]
    expected = np.where(np.isnan(expected) & scored, 0, expected)
    predicted = np.where(np.isnan(predicted) & scored, 0, predicted)
    lowest, highest = np.fmin.reduce(expected), np.fmax.reduce(expected)
    for c, label in np.argwhere(lowest < highest):
        counts = (f"{method} {n:.0f}" for method, n in zip(results, expected[:, c, label], strict=True) if n == n)
        raise ConfigurationError(
            "the methods were not scored against the same reference",
            where=f"{ids[c]}: {labels[label]}",
            got="voxels of the reference: " + ", ".join(counts),
            remedy="evaluate all methods against the same references, with the same --spec",
        )
    return _Gathered(values, predicted, failed, absent=highest == 0)


def _voxels(row: Mapping[str, Score], where: str) -> tuple[float, float]:
    predicted, expected = row.get("n_pred"), row.get("n_ref")
    if predicted is None or expected is None:
        raise ConfigurationError(
            "scores lack the voxel counts that tell a missing label from a missed one",
            where=where,
            expected="n_pred and n_ref beside the metrics",
            remedy="score the predictions with autoseg evaluate",
        )
    return predicted, expected


def _fill(gathered: _Gathered, metrics: tuple[Metric, ...], diagonals: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Values with the worst ones filled in and NaN for what is left out, and where they were filled in."""
    painted = ~gathered.failed[:, :, None] & (gathered.predicted > 0)
    undefined = (painted[..., None] & np.isnan(gathered.values)).any(axis=0)
    values = np.where(gathered.absent[..., None] | undefined, np.nan, gathered.values)
    missing = np.isnan(values) & ~gathered.absent[..., None] & ~undefined
    for k, metric in enumerate(metrics):
        bound = metric.range[0] if metric.best == "higher" else metric.range[1]
        worst = np.full(values.shape[1:3], bound)
        if isinf(bound):
            largest = np.fmax.reduce(values[..., k], axis=(0, 1))
            worst = np.where(np.isnan(diagonals)[:, None], largest, np.array(diagonals)[:, None])
        values[..., k] = np.where(missing[..., k], worst, values[..., k])
    return values, missing & ~np.isnan(values)


def _with_foreground(values: np.ndarray, filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Appends the mean over the labels that have a value as one more label."""
    scored = ~np.isnan(values)
    count = scored.sum(axis=2, keepdims=True)
    total = np.where(scored, values, 0).sum(axis=2, keepdims=True)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return np.concatenate([values, mean], axis=2), np.concatenate([filled, filled.any(axis=2, keepdims=True)], axis=2)


def _failures(result: Scores, ids: tuple[str, ...]) -> dict[str, str]:
    return {id: result.errors.get(id, NO_PREDICTION).split("\n")[0] for id in ids if id not in result.cases}


def _counts(methods: Iterable[str], labels: tuple[str, ...], flags: np.ndarray) -> dict[str, dict[str, int]]:
    """Method -> label -> number of cases, from bool (methods, cases, labels)."""
    return {m: dict(zip(labels, row.tolist(), strict=True)) for m, row in zip(methods, flags.sum(axis=1), strict=True)}


def _index(kind: str, name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise unknown_name(kind, name, names)
    return names.index(name)
