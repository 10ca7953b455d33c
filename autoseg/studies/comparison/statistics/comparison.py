"""Methods compared on the same cases: statistics of each, paired differences with tests, and a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from autoseg.errors import ConfigurationError
from autoseg.evaluation.bootstrap import RESAMPLES, IntervalKind, mean_intervals
from autoseg.evaluation.significance import holm, signed_rank_test
from autoseg.metrics.table import METRICS, Metric
from autoseg.records import Record, unknown_name
from autoseg.studies.comparison.statistics.ranking import case_ranks, rank_stability
from autoseg.studies.comparison.statistics.score_table import Column, ScoreTable

Interval = tuple[float, float]
"""Lower and upper end."""


class Statistics(Record):
    """Scores of one method for one label and metric, in the metric's unit.

    Attributes:
        cases: number of values; with none the others do not exist.
        filled: how many of them are worst values that stand for missing ones.
        left_out: cases left out for all methods.
        mean, std: std with n - 1; None for fewer than two cases.
        interval: of the mean, by bootstrap over cases; None for fewer than two cases.
        quartiles: 25, 50 and 75 percent; the second is the median, the others' distance the interquartile range.
        minimum, maximum: of the values.
    """

    method: str
    label: str
    metric: str
    cases: int
    filled: int
    left_out: int
    mean: float | None
    std: float | None
    interval: Interval | None
    quartiles: tuple[float, float, float] | None
    minimum: float | None
    maximum: float | None


class PairedDifference(Record):
    """First method minus second, case by case, for one label and metric.

    Attributes:
        cases: number of pairs.
        mean, median: in the metric's unit; None without cases.
        interval: of the mean, by bootstrap over cases; None for fewer than two.
        p: of Wilcoxon's signed-rank test; None without cases.
        p_corrected: after Holm's correction over all comparisons of the metric (every pair and label).
        smallest_p: what p could be at best with as many cases that differ.
        effect: matched-pairs rank-biserial correlation, 1 where the first is better in every case that differs, -1
            where the second is, whichever direction of the metric is better.
        first_better, second_better: numbers of cases; the others are equal.
    """

    first: str
    second: str
    label: str
    metric: str
    cases: int
    mean: float | None
    median: float | None
    interval: Interval | None
    p: float | None
    p_corrected: float | None
    smallest_p: float
    effect: float
    first_better: int
    second_better: int

    def better(self, alpha: float) -> str | None:
        """The method that the corrected test calls better at a level of significance; None where it calls none."""
        if self.p_corrected is None or self.p_corrected >= alpha or self.effect == 0:
            return None
        return self.first if self.effect > 0 else self.second


class Ranking(Record):
    """Order of the methods for one label and metric (see `ranking`).

    Attributes:
        cases: number of ranked cases; with none the tables are empty.
        mean_rank: method -> mean rank over the cases, 1 is best.
        place: method -> place by mean rank; equal ones share the better place.
        shares: method -> share of the resamples in which it has place 1, 2, ...
        tau, tau_interval: Kendall's tau-b between the orders of resamples and this one, mean and 95 percent of the
            resamples; None where there is no order.
    """

    label: str
    metric: str
    cases: int
    mean_rank: dict[str, float]
    place: dict[str, int]
    shares: dict[str, tuple[float, ...]]
    tau: float | None
    tau_interval: Interval | None


class Comparison(Record):
    """Everything that is said about methods compared on the same cases; plain values, saved as JSON.

    Attributes:
        methods: in the order given.
        reference: the method that all others are compared with; None where every two are.
        cases: identifiers.
        labels, metrics: of the table (see `ScoreTable`).
        level: of the intervals; 1 - level is the level of significance.
        interval_kind, resamples, seed: how the intervals were made.
        failures: method -> case -> reason.
        missed, absent, false_alarms: see `ScoreTable`.
        statistics, differences, rankings: by metric, then label, then methods.
    """

    methods: tuple[str, ...]
    reference: str | None
    cases: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    level: float
    interval_kind: IntervalKind
    resamples: int
    seed: int
    failures: dict[str, dict[str, str]]
    missed: dict[str, dict[str, int]]
    absent: dict[str, int]
    false_alarms: dict[str, dict[str, int]]
    statistics: tuple[Statistics, ...]
    differences: tuple[PairedDifference, ...]
    rankings: tuple[Ranking, ...]


def compare(
    table: ScoreTable,
    *,
    reference: str | None = None,
    level: float = 0.95,
    interval_kind: IntervalKind = "bca",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Describes the methods of a table, tests the differences between them and ranks them.

    Args:
        table: scores of one or more methods (`score_table.score_table`).
        reference: compare each other method with this one only; by default every two are compared. Fewer comparisons
            lose less to Holm's correction.
        level: of the intervals, between 0 and 1; 1 - level is the level of significance.
        interval_kind: "bca" or "percentile" (see `bootstrap.mean_intervals`).
        resamples: of the cases.
        seed: the same gives the same intervals.

    Returns:
        The comparison; of a single method without differences.

    Raises:
        ConfigurationError: the reference is none of the methods, or a level or number of resamples that makes no sense.
    """
    if reference is not None and reference not in table.methods:
        raise unknown_name("method", reference, table.methods)
    if not 0 < level < 1 or resamples < 1:
        raise ConfigurationError(
            "a wrong choice of intervals",
            got=f"level {level}, {resamples} resamples",
            expected="a level between 0 and 1, at least one resample",
        )
    draw = _Draw(level, interval_kind, resamples, seed)
    pairs = _pairs(table.methods, reference)
    statistics: list[Statistics] = []
    differences: list[PairedDifference] = []
    rankings: list[Ranking] = []
    for name in table.metrics:
        metric = METRICS[name]
        of_metric: list[PairedDifference] = []
        for label in table.labels:
            column = table.column(label, name)
            statistics += _describe(table, label, metric, column, draw)
            of_metric += _differences(table, label, metric, column, pairs, draw)
            rankings.append(_rank(table, label, metric, column, draw))
        differences += _corrected(of_metric)
    return Comparison(
        **_facts(table),
        reference=reference,
        level=level,
        interval_kind=interval_kind,
        resamples=resamples,
        seed=seed,
        statistics=tuple(statistics),
        differences=tuple(differences),
        rankings=tuple(rankings),
    )


@dataclass(frozen=True)
class _Draw:
    """How intervals are made."""

    level: float
    kind: IntervalKind
    resamples: int
    seed: int

    def intervals(self, values: np.ndarray) -> list[Interval | None]:
        """Of the means of values (quantities, n)."""
        ends = mean_intervals(values, level=self.level, kind=self.kind, resamples=self.resamples, seed=self.seed)
        return [None if np.isnan(low) else (float(low), float(high)) for low, high in ends]


def _facts(table: ScoreTable) -> dict[str, Any]:
    """The fields that a comparison takes over."""
    return {
        "methods": table.methods,
        "cases": table.cases,
        "labels": table.labels,
        "metrics": table.metrics,
        "failures": {method: dict(cases) for method, cases in table.failures.items()},
        "missed": {method: dict(row) for method, row in table.missed.items()},
        "absent": dict(table.absent),
        "false_alarms": {method: dict(row) for method, row in table.false_alarms.items()},
    }


def _pairs(methods: tuple[str, ...], reference: str | None) -> list[tuple[int, int]]:
    if reference is None:
        return list(combinations(range(len(methods)), 2))
    index = methods.index(reference)
    return [(index, other) for other in range(len(methods)) if other != index]


def _describe(table: ScoreTable, label: str, metric: Metric, column: Column, draw: _Draw) -> list[Statistics]:
    n = len(column.cases)
    intervals = draw.intervals(column.values)
    return [
        Statistics(
            method=method,
            label=label,
            metric=metric.name,
            cases=n,
            filled=int(filled.sum()),
            left_out=len(table.cases) - n,
            mean=float(values.mean()) if n else None,
            std=float(values.std(ddof=1)) if n > 1 else None,
            interval=interval,
            quartiles=_quartiles(values),
            minimum=float(values.min()) if n else None,
            maximum=float(values.max()) if n else None,
        )
        for method, values, filled, interval in zip(table.methods, column.values, column.filled, intervals, strict=True)
    ]


def _quartiles(values: np.ndarray) -> tuple[float, float, float] | None:
    if not values.size:
        return None
    low, middle, high = np.percentile(values, (25, 50, 75)).tolist()
    return low, middle, high


def _differences(
    table: ScoreTable, label: str, metric: Metric, column: Column, pairs: Sequence[tuple[int, int]], draw: _Draw
) -> list[PairedDifference]:
    """Without the correction, which takes all of the metric."""
    if not pairs:
        return []
    n, sign = len(column.cases), 1 if metric.best == "higher" else -1
    first, second = np.array(pairs).T
    values = column.values[first] - column.values[second]
    result = []
    for (one, other), row, interval in zip(pairs, values, draw.intervals(values), strict=True):
        test = signed_rank_test(sign * row)
        result.append(
            PairedDifference(
                first=table.methods[one],
                second=table.methods[other],
                label=label,
                metric=metric.name,
                cases=n,
                mean=float(row.mean()) if n else None,
                median=float(np.median(row)) if n else None,
                interval=interval,
                p=test.p if n else None,
                p_corrected=None,
                smallest_p=test.smallest_p,
                effect=test.effect,
                first_better=test.above,
                second_better=test.below,
            )
        )
    return result


def _corrected(differences: list[PairedDifference]) -> list[PairedDifference]:
    corrected = iter(holm([difference.p for difference in differences if difference.p is not None]))
    return [d if d.p is None else d.model_copy(update={"p_corrected": next(corrected)}) for d in differences]


def _rank(table: ScoreTable, label: str, metric: Metric, column: Column, draw: _Draw) -> Ranking:
    n = len(column.cases)
    if n == 0:
        return Ranking(
            label=label, metric=metric.name, cases=0, mean_rank={}, place={}, shares={}, tau=None, tau_interval=None
        )
    stability = rank_stability(case_ranks(column, metric), resamples=draw.resamples, seed=draw.seed)
    return Ranking(
        label=label,
        metric=metric.name,
        cases=n,
        mean_rank=dict(zip(table.methods, stability.mean_rank.tolist(), strict=True)),
        place=dict(zip(table.methods, stability.place.tolist(), strict=True)),
        shares={m: tuple(row) for m, row in zip(table.methods, stability.shares.tolist(), strict=True)},
        tau=stability.tau,
        tau_interval=stability.tau_interval,
    )
