"""The result tables and their plots: per class, per case, and configurations and folds side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.lines import Line2D

from autoseg.metrics.table import METRICS, Metric
from autoseg.report.gather import CaseScores, RunRecords, mean_foreground_dice
from autoseg.report.metrics import heading, label_name, shown
from autoseg.report.strips import Group, strips
from autoseg.report.theme import inline_svg
from autoseg.training.curves import INK, SERIES

_FEW_LABELS = 6
"""Up to this many labels the table of cases has room for a distance beside Dice."""


@dataclass(frozen=True)
class Statistics:
    """One metric of one class over the cases: `defined` of them have a value, `undefined` have none.

    The numbers are None where no case has a value. `std` is the sample standard deviation (n - 1), None below
    two values.
    """

    defined: int
    undefined: int
    mean: float | None
    median: float | None
    std: float | None
    min: float | None
    max: float | None


@dataclass(frozen=True)
class ConfigurationResults:
    """What the page shows of one configuration.

    Attributes:
        foreground_dice: mean over the labels, as summary.json has it.
        spread: sample standard deviation of the cases' foreground Dice; None below two cases.
        cells: label -> metric name -> statistics, in the order of `labels` and `metrics`.
        case_metrics: the metrics that the table of cases shows.
        fold_dice: fold -> mean foreground Dice of its cases.
    """

    name: str
    chosen: bool
    foreground_dice: float | None
    spread: float | None
    labels: tuple[str, ...]
    metrics: tuple[Metric, ...]
    case_metrics: tuple[Metric, ...]
    cells: dict[str, dict[str, Statistics]]
    fold_dice: dict[str, float | None]
    cases: tuple[CaseScores, ...]


@dataclass(frozen=True)
class Results:
    """Section 2 of the page."""

    configurations: tuple[ConfigurationResults, ...]
    labels: tuple[str, ...]
    folds: tuple[str, ...]
    plots: tuple[Markup, ...]


def results(records: RunRecords) -> Results | None:
    """Tables and plots of all evaluated configurations, the chosen ones first; None if there is no evaluation."""
    order = sorted(records.evaluated, key=lambda name: name not in records.chosen)
    if not order:
        return None
    found = tuple(_configuration(records, name) for name in order)
    labels = tuple(dict.fromkeys(label for one in found for label in one.labels))
    folds = tuple(sorted({fold for one in found for fold in one.fold_dice}, key=lambda name: (len(name), name)))
    plots = [distribution(found, labels, METRICS[name]) for name in ("dice", "hd95")]
    return Results(found, labels, folds, tuple(plot for plot in plots if plot is not None))


def statistics(cases: Sequence[CaseScores], label: str, key: str) -> Statistics:
    """Statistics of one metric of one class; a case that does not list the class is not counted at all."""
    values = [case.scores[label].get(key) for case in cases if label in case.scores]
    known = np.array([value for value in values if value is not None], dtype=float)
    counts = (known.size, len(values) - known.size)
    if not known.size:
        return Statistics(*counts, None, None, None, None, None)
    return Statistics(
        *counts,
        mean=float(known.mean()),
        median=float(np.median(known)),
        std=float(known.std(ddof=1)) if known.size > 1 else None,
        min=float(known.min()),
        max=float(known.max()),
    )


def distribution(
    configurations: Sequence[ConfigurationResults], labels: Sequence[str], metric: Metric
) -> Markup | None:
    """Every case as a point and a box over them, a row per class and configuration; None if no value exists."""
    colours = [SERIES[index % len(SERIES)] for index in range(len(configurations))]
    groups = [
        Group(
            label_name(label),
            tuple((_values(one.cases, label, metric.name), c) for one, c in zip(configurations, colours, strict=True)),
        )
        for label in labels
    ]
    known = [values for group in groups for values, _ in group.rows if values.size]
    if not known:
        return None
    figure, axes = strips(f"{heading(metric)}, a point a case", groups)
    if len(configurations) > 1:
        marks = [Line2D([], [], marker="o", linestyle="", color=colour) for colour in colours]
        names = [one.name for one in configurations]
        figure.legend(marks, names, loc="outside lower center", ncols=4, fontsize=8.5, frameon=False, labelcolor=INK)
    if metric.range[1] == 1.0:
        axes.set_xlim(max(min(float(values.min()) for values in known) - 0.05, -0.01), 1.01)
    else:
        axes.set_xlim(left=0)
    return inline_svg(figure, f"distribution-{metric.name}", f"Distribution of {metric.title} over the cases")


def _configuration(records: RunRecords, name: str) -> ConfigurationResults:
    cases = records.evaluated[name]
    labels = tuple(dict.fromkeys(label for case in cases for label in case.scores))
    metrics = shown(key for case in cases for scores in case.scores.values() for key in scores)
    dice = [value for case in cases if (value := case.foreground_dice) is not None]
    summary = ((records.summary or {}).get("configurations") or {}).get(name) or {}
    stated = (summary.get("foreground_mean") or {}).get("dice")
    return ConfigurationResults(
        name=name,
        chosen=name in records.chosen,
        foreground_dice=mean_foreground_dice(cases) if stated is None else stated,
        spread=float(np.std(dice, ddof=1)) if len(dice) > 1 else None,
        labels=labels,
        metrics=metrics,
        case_metrics=metrics[: 2 if len(labels) <= _FEW_LABELS else 1],
        cells={label: {metric.name: statistics(cases, label, metric.name) for metric in metrics} for label in labels},
        fold_dice={
            fold: mean_foreground_dice(content.cases) for fold, content in records.folds[name].items() if content.cases
        },
        cases=cases,
    )


def _values(cases: Sequence[CaseScores], label: str, key: str) -> np.ndarray:
    found = [case.scores.get(label, {}).get(key) for case in cases]
    return np.array([value for value in found if value is not None], dtype=float)
