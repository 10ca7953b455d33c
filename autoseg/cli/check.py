"""`autoseg check`: every problem of a data set, all together, before anything is computed."""

from __future__ import annotations

from typing import Annotated

import typer

from autoseg.cli import options


def check(
    dataset: options.DatasetFolder,
    images: options.ImageReading,
    labels: options.LabelReading,
    workers: options.Workers = None,
    each: Annotated[bool, typer.Option("--all", help="A line for every problem, also where many are alike.")] = False,
) -> None:
    """Report all problems of a data set.

    Reads every file once, in parallel, and changes nothing. Many problems of one kind are one line, with three
    examples. Exit code 0 with no more than warnings, 2 with errors.
    """
    from autoseg import pipeline
    from autoseg.data.problem import format_problems, summary_line

    problems = pipeline.check(dataset, workers=workers, reading=options.reading_of(images, labels))
    for line in format_problems(problems, each=each):
        typer.echo(line)
    typer.echo(summary_line(problems))
    if any(problem.severity == "error" for problem in problems):
        raise typer.Exit(2)
