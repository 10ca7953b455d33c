"""The tables of a comparison of methods, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autoseg.evaluation.crossvalidation import FOREGROUND
from autoseg.log import duration
from autoseg.metrics.table import METRICS, Metric
from autoseg.report.metrics import LEADING, label_name
from autoseg.studies.comparison.statistics.comparison import PairedDifference, Statistics
from autoseg.studies.comparison.statistics.method_comparison import MethodComparison
from autoseg.studies.comparison.statistics.method_run import MethodSummary


@dataclass(frozen=True)
class MethodRow:
    """A line of the table of methods.

    Attributes:
        place: by mean rank; None where there is no order.
        scores: metric -> statistics of the main label.
        failures: cases without a prediction.
        missed: how often a label was not found in a case with a prediction.
        trained: from how many cases it learned, in words.
        fit, case, longest: seconds of learning and of a case (median, maximum), in words.
        memory: peak over the cases in GB, in words.
    """

    name: str
    description: str
    note: str
    place: int | None
    scores: Mapping[str, Statistics]
    failures: int
    missed: int
    trained: str
    fit: str
    case: str
    longest: str
    memory: str


@dataclass(frozen=True)
class DifferenceRow:
    """A line of the table of differences: the base minus another method.

    Attributes:
        mean, interval: in the metric's unit; None where they do not exist.
        p: corrected.
        effect: rank-biserial, 1 where the base is better in every case that differs.
        better: the method that the corrected test shows to be better; None without one.
        wins, losses: cases in which the base is better and worse, of `cases`.
    """

    label: str
    other: str
    mean: float | None
    interval: tuple[float, float] | None
    p: float | None
    effect: float
    better: str | None
    wins: int
    losses: int
    cases: int


@dataclass(frozen=True)
class ComparisonTables:
    """All tables.

    Attributes:
        base: the method that the others are compared with: the comparison's reference, else the one in first place.
        metrics: in the order of reading.
        methods: the best first.
        labels: label -> method -> metric -> statistics; the methods in that order too.
        differences: metric -> rows, those of the main label first.
    """

    base: str
    metrics: tuple[Metric, ...]
    methods: tuple[MethodRow, ...]
    labels: Mapping[str, Mapping[str, Mapping[str, Statistics]]]
    differences: Mapping[str, tuple[DifferenceRow, ...]]


def comparison_tables(comparison: MethodComparison) -> ComparisonTables:
    """The tables of a comparison; of a single method without differences."""
    metrics = tuple(METRICS[name] for name in LEADING if name in comparison.comparison.metrics)
    base = comparison.comparison.reference or comparison.order[0]
    return ComparisonTables(
        base=base,
        metrics=metrics,
        methods=tuple(_method_row(comparison, name, metrics) for name in comparison.order),
        labels={label: _by_method(comparison, label, metrics) for label in comparison.comparison.labels},
        differences={metric.name: _difference_rows(comparison, base, metric.name) for metric in metrics},
    )


def pairs_with(base: str, comparison: MethodComparison, metric: str, label: str) -> dict[str, PairedDifference]:
    """Other method -> its pair with the base, in the order of the methods' places.

    Args:
        base: name of a method.
        comparison: of all methods.
        metric: name.
        label: name, or "foreground_mean".
    """
    differences = {
        difference.second if difference.first == base else difference.first: difference
        for difference in comparison.differences(metric, label)
    }
    return {name: differences[name] for name in comparison.order if name in differences}


def from_side_of(base: str, difference: PairedDifference) -> tuple[float | None, tuple[float, float] | None]:
    """Mean difference and interval as the base minus the other method."""
    if base == difference.first or difference.mean is None:
        return difference.mean, difference.interval
    return -difference.mean, None if difference.interval is None else (-difference.interval[1], -difference.interval[0])


def class_name(label: str) -> str:
    """A label as figures and tables name it, and the mean over the labels."""
    return "mean over classes" if label == FOREGROUND else label_name(label)


def trained_words(ran: MethodSummary) -> str:
    """From how many cases a method learned: "208", or "40 of 208", or both where folds differ."""
    words = (
        str(count) if count == ran.of_training[fold] else f"{count} of {ran.of_training[fold]}"
        for fold, count in ran.training.items()
    )
    return ", ".join(dict.fromkeys(words))


def seconds_words(seconds: float | None) -> str:
    """A time as tables show it, below ten seconds with two digits; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 0.01:
        return "<0.01s"
    return f"{seconds:.2g}s" if seconds < 9.95 else duration(seconds)


def _method_row(comparison: MethodComparison, name: str, metrics: tuple[Metric, ...]) -> MethodRow:
    ran = next(method for method in comparison.methods if method.name == name)
    return MethodRow(
        name=name,
        description=ran.description,
        note=ran.note,
        place=comparison.ranking("dice", comparison.main).place.get(name),
        scores={metric.name: comparison.statistics(metric.name, comparison.main)[name] for metric in metrics},
        failures=len(comparison.comparison.failures[name]),
        missed=sum(comparison.comparison.missed[name].values()),
        trained=trained_words(ran),
        fit=seconds_words(ran.fit_seconds),
        case=seconds_words(ran.seconds),
        longest=seconds_words(ran.longest_seconds),
        memory="–" if ran.peak_gb is None else f"{ran.peak_gb:.2f}",
    )


def _by_method(
    comparison: MethodComparison, label: str, metrics: tuple[Metric, ...]
) -> dict[str, dict[str, Statistics]]:
    statistics = {one.name: comparison.statistics(one.name, label) for one in metrics}
    return {name: {metric: rows[name] for metric, rows in statistics.items()} for name in comparison.order}


def _difference_rows(comparison: MethodComparison, base: str, metric: str) -> tuple[DifferenceRow, ...]:
    rows = []
    alpha = round(1 - comparison.comparison.level, 10)
    for label in (comparison.main, *(label for label in comparison.comparison.labels if label != comparison.main)):
        for other, difference in pairs_with(base, comparison, metric, label).items():
            mean, interval = from_side_of(base, difference)
            is_first = base == difference.first
            rows.append(
                DifferenceRow(
                    label=label,
                    other=other,
                    mean=mean,
                    interval=interval,
                    p=difference.p_corrected,
                    effect=difference.effect if is_first else -difference.effect,
                    better=difference.better(alpha),
                    wins=difference.first_better if is_first else difference.second_better,
                    losses=difference.second_better if is_first else difference.first_better,
                    cases=difference.cases,
                )
            )
    return tuple(rows)
