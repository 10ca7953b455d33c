"""`autoseg evaluate`: score segmentations against references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli import options


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", exists=True, file_okay=False)],
    references: Annotated[Path, typer.Argument(metavar="REFERENCES", exists=True, file_okay=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json", dir_okay=False, help="Where to write all numbers.")
    ] = None,
    spec: options.LabelNames = None,
    workers: options.Workers = None,
) -> None:
    """Score segmentations against references.

    Files with the same names are compared: overlap, surface distances in mm, volumes. A number that does not
    exist (an empty reference and prediction) is null in the file and a dash in the table. Cases that cannot be
    compared are named, enter no mean, and make the exit code 2.
    """
    from autoseg.cli import tables
    from autoseg.evaluation.evaluate import evaluate as score

    scores = score(predictions, references, out=out, spec=spec, workers=workers)
    tables.show_scores(scores)
    if out is not None:
        typer.echo(f"scores: {out}")
    for message in scores.errors.values():
        typer.echo(f"error: {message}", err=True)
    if scores.errors:
        raise typer.Exit(2)
