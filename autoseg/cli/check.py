"""`autoseg check`: every problem of a data set, all together, before anything is computed."""

from __future__ import annotations

import typer

from autoseg.cli import options
from autoseg.log import counted


def check(
    dataset: options.DatasetFolder,
    images: options.ImageReading,
    labels: options.LabelReading,
    workers: options.Workers = None,
) -> None:
    """Report all problems of a data set.

    Reads every file once, in parallel, and changes nothing. Exit code 0 with no more than warnings, 2 with errors.
    """
    from autoseg import pipeline
    from autoseg.data.check import format_problem

    problems = pipeline.check(dataset, workers=workers, reading=options.reading_of(images, labels))
    for problem in sorted(problems, key=lambda p: p.severity != "error"):
        typer.echo(format_problem(problem))
    errors = sum(problem.severity == "error" for problem in problems)
    typer.echo(f"{counted(errors, 'error')}, {counted(len(problems) - errors, 'warning')}")
    if errors:
        raise typer.Exit(2)
