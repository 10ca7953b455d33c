"""Tables on the terminal: a plan with its costs, scores, results of a run, and cases worth looking at."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import typer

from autoseg.evaluation.crossvalidation import ModelRow, model_rows
from autoseg.evaluation.scores import FOREGROUND, Scores
from autoseg.evaluation.summary import Summary
from autoseg.inference.choice import Choice
from autoseg.inference.estimate import CaseEstimate, CaseEstimates, judgement
from autoseg.log import counted
from autoseg.plan.record import Plan
from autoseg.plan.table import PlanRow, describe
from autoseg.workspace import Run

SCORES = {"dice": "Dice", "nsd": "NSD", "hd95": "HD95 [mm]", "assd": "ASSD [mm]"}
"""Metrics shown on the terminal, with their headings; all others are in the files."""

MOST_LABELS = 8
"""Up to this many labels have a column in the table of results; with more the report shows them."""
MOST_CASES = 20
"""Flagged cases listed on the terminal; all are in the file."""

_WIDTH_ELSEWHERE = 160  # columns when output is a file or a pipe, which have no width to fit


def show(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], *, words: bool = False) -> None:
    """Prints a table to standard output: the first column to the left and the others to the right, words all left."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Text, because names in data sets may hold square brackets, which are rich's markup
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD)
    for i, heading in enumerate(headings):
        table.add_column(Text(heading), justify="left" if words or not i else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE).print(table)


def show_scores(scores: Scores, title: str = "scores") -> None:
    """Prints the means of scores, one row per label and one for their mean."""
    counted = _partly_counted(scores)
    show(title, ("label", *SCORES.values(), *(["cases"] if counted else [])), score_rows(scores))


def score_rows(scores: Scores) -> list[list[str]]:
    """Rows of the score table as text; a number that does not exist is a dash.

    Where a label was not looked for in every case, the last column is the number of cases in which each was.
    """
    labels = {**scores.mean, "foreground mean": scores.foreground_mean}
    counted = _partly_counted(scores)
    cases = {name: [str(counted.get(name, len(scores.cases)))] if counted else [] for name in labels}
    return [
        [name, *(_number(values.get(metric)) for metric in SCORES), *cases[name]] for name, values in labels.items()
    ]


def _partly_counted(scores: Scores) -> dict[str, int]:
    """Label -> cases in which it was looked for; empty where that is all of them for every label."""
    counted = scores.counted
    return counted if any(count < len(scores.cases) for count in counted.values()) else {}


def show_results(run: Run) -> None:
    """Prints what a finished run has to say: a row per configuration and ensemble, the choice, and how to use it."""
    if not run.summary.exists():  # a model of all data is validated on nothing
        typer.echo(f"report: {run.report}")
        return
    summary = Summary.load(run.summary)
    show("Dice over the validation cases", *result_rows(model_rows(summary)))
    best = summary.best
    typer.echo(f"best: {' + '.join(best.configurations)}")
    if best.postprocessing is not None:
        typer.echo(f"post-processing: {_postprocessing(best)}")
    if summary.uncertainty is not None:
        typer.echo(f"estimated Dice of new cases: {judgement(summary.uncertainty.foreground)}")
    if best.predict:
        typer.echo(f"to use it: {best.predict}")
    typer.echo(f"report: {run.report}")


def result_rows(models: Sequence[ModelRow]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the table of results; folds have columns if there are several, labels if there are few."""
    labels = list(dict.fromkeys(label for model in models for label in model.dice if label != FOREGROUND))
    labels = labels if 1 < len(labels) <= MOST_LABELS else []
    folds = sorted({fold for model in models for fold in model.folds}, key=lambda name: (len(name), name))
    folds = folds if len(folds) > 1 else []
    headings = ["", *labels, "foreground", *(f"fold {fold}" for fold in folds), "cases"]
    rows = [
        [
            model.name + (" (best)" if model.chosen else ""),
            *(_digits(model.dice.get(label)) for label in (*labels, FOREGROUND)),
            *(_digits(model.folds.get(fold, {}).get(FOREGROUND)) for fold in folds),
            _cases(model, labels),
        ]
        for model in models
    ]
    return headings, rows


def _cases(model: ModelRow, labels: Sequence[str]) -> str:
    """How many were validated, and how many of them count for the labels that have a column."""
    parts = [f"{label} {model.counted[label]}" for label in labels if label in model.counted]
    return f"{model.cases} ({', '.join(parts)})" if parts else str(model.cases)


def show_uncertainty(path: Path) -> None:
    """Prints from a prediction's uncertainty.json which cases are worth looking at, the least sure first.

    A model without validated estimates has no flags, and then there is nothing to print.
    """
    content = CaseEstimates.load(path)
    judged = {name: case for name, case in content.cases.items() if case.flagged is not None}
    if not judged:
        return
    flagged = [(name, case) for name, case in judged.items() if case.flagged]
    if not flagged:
        typer.echo(f"worth looking at: none of {counted(len(judged), 'case')} stands out")
        return
    flagged.sort(key=lambda item: _least(item[1]))
    rows = [[name, *_reason(case)] for name, case in flagged[:MOST_CASES]]
    show(
        f"worth looking at: {len(flagged)} of {counted(len(judged), 'case')}", ("case", "class", "estimated Dice"), rows
    )
    if len(flagged) > MOST_CASES:
        typer.echo(f"and {len(flagged) - MOST_CASES} more: see {path}")
    if content.judgement:
        typer.echo(f"the estimate {content.judgement}")


def _least(case: CaseEstimate) -> float:
    return min((label.estimate or 0.0) for label in case.labels.values() if label.flagged)


def _reason(case: CaseEstimate) -> tuple[str, str]:
    """The flagged classes and their estimates; nothing found counts as the least."""
    flagged = [(name, label.estimate) for name, label in case.labels.items() if label.flagged]
    values = ("nothing found" if value is None else f"{value:.2f}" for _, value in flagged)
    return ", ".join(name for name, _ in flagged), ", ".join(values)


def _postprocessing(best: Choice) -> str:
    if not best.postprocessing:
        return "none helps"
    before, after = best.foreground_mean_dice, best.foreground_mean_dice_postprocessed
    return f"{', '.join(best.postprocessing)} (foreground Dice {_digits(before)} -> {_digits(after)})"


def show_plan(plan: Plan) -> None:
    """Prints a plan, one column per configuration, and says where a network sees less than its patch."""
    rows = describe(plan)
    show(f"{plan.dataset}, planned by {plan.planner}", ("", *(row.name for row in rows)), plan_rows(rows))
    for row in rows:
        if not row.sees_whole_patch:
            typer.echo(f"{row.name}: the receptive field is smaller than the patch")


def plan_rows(rows: Sequence[PlanRow]) -> list[list[str]]:
    """The lines of the plan's table as text: a heading, then a value per configuration."""
    lines: dict[str, Callable[[PlanRow], str | None]] = {
        "network": lambda row: row.network,
        "spacing [mm]": lambda row: _axes(row.spacing),
        "median image": lambda row: _axes(row.median_shape),
        "patch": lambda row: _axes(row.patch_size),
        "receptive field": lambda row: None if row.receptive_field is None else _axes(row.receptive_field),
        "batch": lambda row: str(row.batch_size),
        "stages": lambda row: None if row.stages is None else str(row.stages),
        "features": lambda row: _range(row.features_per_stage),
        "parameters": lambda row: None if row.parameters is None else engineering(row.parameters),
        "multiply-adds per step": lambda row: None if row.multiply_adds is None else engineering(row.multiply_adds),
        "memory, mixed precision": lambda row: None if row.memory is None else f"{row.memory / 1e9:.1f} GB",
    }
    absent = ["not known" if row.segments else "-" for row in rows]  # other tasks' trainers know, this table does not
    cells = {
        heading: [value(row) or none for row, none in zip(rows, absent, strict=True)]
        for heading, value in lines.items()
    }
    return [[heading, *values] for heading, values in cells.items() if set(values) != {"-"}]


def _range(values: Sequence[int] | None) -> str | None:
    return f"{min(values)} to {max(values)}" if values else None


def _axes(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def engineering(value: float) -> str:
    """A large number with three digits and the letter of its power of a thousand: 31.2 M."""
    for letter in ("", "k", "M", "G"):
        if value < 999.5:
            return f"{value:.3g} {letter}".rstrip()
        value /= 1000
    return f"{value:.3g} T"


def _digits(value: float | None) -> str:
    """Four places: configurations differ in the third and later ones."""
    return "-" if value is None else f"{value:.4f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
