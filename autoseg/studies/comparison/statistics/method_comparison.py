"""What a comparison of methods keeps: how the methods ran, their scores, and what these say."""

from __future__ import annotations

from typing import Any, Literal

from autoseg.evaluation.advice import Advice
from autoseg.evaluation.crossvalidation import FOREGROUND
from autoseg.records import Record
from autoseg.studies.comparison.statistics.comparison import Comparison, PairedDifference, Ranking, Statistics
from autoseg.studies.comparison.statistics.method_run import MethodSummary
from autoseg.studies.comparison.statistics.score_table import ScoreTable

FILE = "comparison.json"
"""Name of a `MethodComparison` in its folder."""


class ScoreColumn(Record):
    """The scores of all methods for one label and metric, on the cases where it exists.

    Attributes:
        cases: identifiers, n of them.
        values: method -> n values.
        filled: method -> cases where a worst value stands for a missing one.
    """

    label: str
    metric: str
    cases: tuple[str, ...]
    values: dict[str, tuple[float, ...]]
    filled: dict[str, tuple[str, ...]]


class MethodComparison(Record):
    """Methods compared on the same cases of a data set: comparison.json.

    Attributes:
        dataset, folder: name and place of the data.
        command: the command line; empty for a call from Python.
        folds, of_folds: names of the compared folds, and how many there are.
        seed: of the methods and of the resamples.
        methods: in the order asked for.
        main: label that the methods are ordered by: the mean over labels, or the only one.
        comparison: the statistics (`evaluation.comparison`).
        scores: what they are of.
        findings: what they say about Dice of the main label, in sentences.
        details: the same about each other label.
        exclusions: what did not count as it is, in sentences.
        advised: the method whose scores the advice looks at.
        advice: pitfalls of the metrics on this data.
        machine: on which the times were taken.
    """

    format: Literal[1] = 1
    dataset: str
    folder: str
    command: tuple[str, ...]
    folds: tuple[str, ...]
    of_folds: int
    seed: int
    methods: tuple[MethodSummary, ...]
    main: str
    comparison: Comparison
    scores: tuple[ScoreColumn, ...]
    findings: tuple[str, ...]
    details: tuple[str, ...]
    exclusions: tuple[str, ...]
    advised: str
    advice: tuple[Advice, ...]
    machine: dict[str, Any]

    @property
    def order(self) -> tuple[str, ...]:
        """The methods' names by their place in Dice of the main label, the best first."""
        place = self.ranking("dice", self.main).place
        return tuple(sorted(self.comparison.methods, key=lambda name: place.get(name, 1)))

    def ranking(self, metric: str, label: str) -> Ranking:
        """The order of the methods for one label and metric, which the comparison has."""
        return next(
            ranking for ranking in self.comparison.rankings if (ranking.metric, ranking.label) == (metric, label)
        )

    def statistics(self, metric: str, label: str) -> dict[str, Statistics]:
        """Method -> statistics of one label and metric, in the order asked for."""
        matching = (row for row in self.comparison.statistics if (row.metric, row.label) == (metric, label))
        return {row.method: row for row in matching}

    def differences(self, metric: str, label: str) -> tuple[PairedDifference, ...]:
        """Those with the reference, or where every two were compared those with the method in first place.

        The reference or first method is the `first` or the `second` of a pair, as it was compared.
        """
        base = self.comparison.reference or self.order[0]
        return tuple(
            difference
            for difference in self.comparison.differences
            if (difference.metric, difference.label) == (metric, label)
            and base in (difference.first, difference.second)
        )


def score_columns(table: ScoreTable) -> tuple[ScoreColumn, ...]:
    """Every label and metric of a table as plain values."""
    columns = []
    for metric in table.metrics:
        for label in table.labels:
            column = table.column(label, metric)
            rows = zip(table.methods, column.values.tolist(), column.filled, strict=True)
            named = [(method, tuple(values), filled) for method, values, filled in rows]
            columns.append(
                ScoreColumn(
                    label=label,
                    metric=metric,
                    cases=column.cases,
                    values={method: values for method, values, _ in named},
                    filled={
                        method: tuple(case for case, is_filled in zip(column.cases, filled, strict=True) if is_filled)
                        for method, _, filled in named
                    },
                )
            )
    return tuple(columns)


def main_label(table: ScoreTable) -> str:
    """The mean over labels where there are several, else the only label."""
    return FOREGROUND if FOREGROUND in table.labels else table.labels[0]
