"""Tables on the terminal: a plan with its costs, and scores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import typer

from autoseg.plan.record import Plan
from autoseg.plan.table import Row, describe
from autoseg.records import read_mapping
from autoseg.workspace import Run

SCORES = {"dice": "Dice", "nsd": "NSD", "hd95": "HD95 [mm]", "assd": "ASSD [mm]"}
"""Metrics shown on the terminal, with their headings; all others are in the files."""

_WIDTH_ELSEWHERE = 160  # columns when output is a file or a pipe, which have no width to fit


def show(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table to standard output, the first column to the left and the others to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Text, because names in data sets may hold square brackets, which are rich's markup
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD)
    for i, heading in enumerate(headings):
        table.add_column(Text(heading), justify="right" if i else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE).print(table)


def show_scores(scores: dict[str, Any], title: str = "scores") -> None:
    """Prints the means of a summary (`mean.<label>.<metric>`), one row a label and one for their mean."""
    show(title, ("label", *SCORES.values()), score_rows(scores))


def score_rows(scores: dict[str, Any]) -> list[list[str]]:
    """Rows of the score table as text; a number that does not exist is a dash."""
    labels = {**scores["mean"], "foreground mean": scores["foreground_mean"]}
    return [[name, *(_number(values.get(metric)) for metric in SCORES)] for name, values in labels.items()]


def show_results(run: Run) -> None:
    """Prints the validation scores of every configuration of a finished run and the path of its report."""
    summary = read_mapping(run.require(run.summary, "autoseg plan-and-train"))
    for name, scores in summary["configurations"].items():
        show_scores(scores, title=f"{name}, validated on {scores['cases']} cases")
    best = summary["best"]
    typer.echo(f"best: {' + '.join(best['configurations'])}")
    typer.echo(f"post-processing: {', '.join(best['postprocessing']) or 'none helps'}")
    typer.echo(f"report: {run.report}")


def show_plan(plan: Plan) -> None:
    """Prints a plan, one column a configuration, and says where a network sees less than its patch."""
    rows = describe(plan)
    show(f"{plan.dataset}, planned by {plan.planner}", ("", *(row.name for row in rows)), plan_rows(rows))
    for row in rows:
        if not row.sees_whole_patch:
            typer.echo(f"{row.name}: the receptive field is smaller than the patch")


def plan_rows(rows: Sequence[Row]) -> list[list[str]]:
    """The lines of the plan's table as text: a heading, then a value a configuration."""
    lines: dict[str, Callable[[Row], str]] = {
        "network": lambda row: row.network,
        "spacing [mm]": lambda row: _axes(row.spacing),
        "median image": lambda row: _axes(row.median_shape),
        "patch": lambda row: _axes(row.patch_size),
        "receptive field": lambda row: _axes(row.receptive_field),
        "batch": lambda row: str(row.batch_size),
        "stages": lambda row: str(row.stages),
        "features": lambda row: f"{min(row.features_per_stage)} to {max(row.features_per_stage)}",
        "parameters": lambda row: engineering(row.parameters),
        "multiply-adds a step": lambda row: engineering(row.multiply_adds),
        "memory, mixed precision": lambda row: f"{row.memory / 1e9:.1f} GB",
    }
    return [[heading, *map(value, rows)] for heading, value in lines.items()]


def _axes(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def engineering(value: float) -> str:
    """A large number with three digits and the letter of its power of a thousand: 31.2 M."""
    for letter in ("", "k", "M", "G"):
        if value < 999.5:
            return f"{value:.3g} {letter}".rstrip()
        value /= 1000
    return f"{value:.3g} T"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
