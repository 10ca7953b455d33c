"""The result tables and their plots: per class, per case, and models and folds side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.lines import Line2D

from autoseg.log import counted
from autoseg.metrics.table import METRICS, Metric
from autoseg.report.gather import CaseScores, RunRecords, mean_foreground_dice
from autoseg.report.metrics import digits, heading, label_name, shown
from autoseg.report.strips import Group, strips
from autoseg.report.theme import inline_svg
from autoseg.training.curves import INK, SERIES

_FEW_LABELS = 6
"""Up to this many labels the table of cases has room for a distance beside Dice."""


@dataclass(frozen=True)
class ScoreStatistics:
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
class FoldResults:
    """Mean Dice over the cases of one fold: label -> value, None where no case has one."""

    fold: str
    cases: int
    foreground_dice: float | None
    dice: dict[str, float | None]


@dataclass(frozen=True)
class ModelResults:
    """What the page shows of one configuration or ensemble.

    Attributes:
        name: "a + b" for an ensemble.
        detailed: whether its plots and its table of cases are shown: configurations, and the chosen ensemble.
        foreground_dice: mean over the labels, as summary.json has it.
        spread: sample standard deviation of the cases' foreground Dice; None below two cases.
        cells: label -> metric name -> statistics, in the order of `labels` and `metrics`.
        case_metrics: the metrics that the table of cases shows.
        folds: in ascending order; empty for a single fold, which is the whole.
    """

    name: str
    chosen: bool
    detailed: bool
    foreground_dice: float | None
    spread: float | None
    labels: tuple[str, ...]
    metrics: tuple[Metric, ...]
    case_metrics: tuple[Metric, ...]
    cells: dict[str, dict[str, ScoreStatistics]]
    folds: tuple[FoldResults, ...]
    cases: tuple[CaseScores, ...]


@dataclass(frozen=True)
class Results:
    """Section 2 of the page.

    Attributes:
        choice: why the chosen model was chosen, in words; empty where there was nothing to choose.
    """

    models: tuple[ModelResults, ...]
    labels: tuple[str, ...]
    choice: str
    plots: tuple[Markup, ...]


def results(records: RunRecords) -> Results | None:
    """Tables and plots of everything that was validated, the chosen one first; None if there is no evaluation."""
    scored = [names for names, cases in records.models.items() if any(case.scores for case in cases)]
    order = sorted(scored, key=lambda names: names != records.chosen_model)
    if not order:
        return None
    models = tuple(_model(records, names) for names in order)
    labels = tuple(dict.fromkeys(label for model in models for label in model.labels))
    plots = [
        distribution([model for model in models if model.detailed], labels, METRICS[name]) for name in ("dice", "hd95")
    ]
    return Results(models, labels, _choice(records, models), tuple(plot for plot in plots if plot is not None))


def statistics(cases: Sequence[CaseScores], label: str, key: str) -> ScoreStatistics:
    """Statistics of one metric of one class; a case that does not list the class is not counted at all."""
    values = [case.scores[label].get(key) for case in cases if label in case.scores]
    numbers = np.array([value for value in values if value is not None], dtype=float)
    counts = (numbers.size, len(values) - numbers.size)
    if not numbers.size:
        return ScoreStatistics(*counts, None, None, None, None, None)
    return ScoreStatistics(
        *counts,
        mean=float(numbers.mean()),
        median=float(np.median(numbers)),
        std=float(numbers.std(ddof=1)) if numbers.size > 1 else None,
        min=float(numbers.min()),
        max=float(numbers.max()),
    )


def distribution(models: Sequence[ModelResults], labels: Sequence[str], metric: Metric) -> Markup | None:
    """Every case as a point and a box over them, a row per class and model; None if no value exists."""
    colours = [SERIES[index % len(SERIES)] for index in range(len(models))]
    groups = [
        Group(
            label_name(label),
            tuple((_values(model.cases, label, metric.name), c) for model, c in zip(models, colours, strict=True)),
        )
        for label in labels
    ]
    filled = [values for group in groups for values, _ in group.rows if values.size]
    if not filled:
        return None
    figure, axes = strips(f"{heading(metric)}, a point per case", groups)
    if len(models) > 1:
        marks = [Line2D([], [], marker="o", linestyle="", color=colour) for colour in colours]
        names = [model.name for model in models]
        figure.legend(marks, names, loc="outside lower center", ncols=4, fontsize=8.5, frameon=False, labelcolor=INK)
    if metric.range[1] == 1.0:
        axes.set_xlim(max(min(float(values.min()) for values in filled) - 0.05, -0.01), 1.01)
    else:
        axes.set_xlim(left=0)
    return inline_svg(figure, f"distribution-{metric.name}", f"Distribution of {metric.title} over the cases")


def _model(records: RunRecords, names: tuple[str, ...]) -> ModelResults:
    cases = records.models[names]
    labels = tuple(dict.fromkeys(label for case in cases for label in case.scores))
    metrics = shown(key for case in cases for scores in case.scores.values() for key in scores)
    dice = [value for case in cases if (value := case.foreground_dice) is not None]
    stated = _stated(records, names)
    chosen = names == records.chosen_model
    return ModelResults(
        name=" + ".join(names),
        chosen=chosen,
        detailed=chosen or len(names) == 1,
        foreground_dice=mean_foreground_dice(cases) if stated is None else stated,
        spread=float(np.std(dice, ddof=1)) if len(dice) > 1 else None,
        labels=labels,
        metrics=metrics,
        case_metrics=metrics[: 2 if len(labels) <= _FEW_LABELS else 1],
        cells={label: {metric.name: statistics(cases, label, metric.name) for metric in metrics} for label in labels},
        folds=_folds(cases, labels),
        cases=cases,
    )


def _stated(records: RunRecords, names: tuple[str, ...]) -> float | None:
    """Mean foreground Dice of a model as the summary has it."""
    scores = records.summary.models.get(names)
    return None if scores is None else scores.foreground_dice


def _folds(cases: Sequence[CaseScores], labels: Sequence[str]) -> tuple[FoldResults, ...]:
    names = sorted({case.fold for case in cases}, key=lambda name: (len(name), name))
    folds = []
    for fold in names if len(names) > 1 else ():
        inside = [case for case in cases if case.fold == fold]
        dice = {label: statistics(inside, label, "dice").mean for label in labels}
        folds.append(FoldResults(fold, len(inside), mean_foreground_dice(inside), dice))
    return tuple(folds)


def _choice(records: RunRecords, models: Sequence[ModelResults]) -> str:
    """Why the first of the models was chosen."""
    best, others = models[0], models[1:]
    if not others or not records.summary.validated or not best.chosen or best.foreground_dice is None:
        return ""
    rivals = [model for model in others if len(model.cases) == len(best.cases)]
    fewer = [model.name for model in others if len(model.cases) < len(best.cases)]
    equal = [model.name for model in rivals if digits(model.foreground_dice) == digits(best.foreground_dice)]
    text, cases = "", counted(len(best.cases), "case")
    if rivals:
        text = f"{best.name} has the highest mean foreground Dice of those validated on the same {cases}."
    if equal:
        text = f"{best.name} and {', '.join(equal)} have the same mean foreground Dice to four places, the highest of "
        text += f"those validated on the same {cases}; of equal ones the simplest is taken."
    if fewer:
        text += f" Not compared, since validated on fewer cases: {', '.join(fewer)}."
    return text.strip()


def _values(cases: Sequence[CaseScores], label: str, key: str) -> np.ndarray:
    values = [case.scores.get(label, {}).get(key) for case in cases]
    return np.array([value for value in values if value is not None], dtype=float)
