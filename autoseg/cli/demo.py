"""`autoseg demo`: the whole way on a small data set that is made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli import options

DEFAULT_SECONDS = 180.0


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Folder for data set and run.")] = Path(
        "demo"
    ),
    budget: options.Budget = None,
) -> None:
    """Run everything on a small phantom data set.

    Makes the data set, then plans, trains, validates and reports on it, within three minutes unless
    `--budget` says otherwise.
    """
    from autoseg import pipeline
    from autoseg.cli import tables

    run = pipeline.demo(out, budget=budget or DEFAULT_SECONDS, command=options.command_line(context))
    tables.show_results(run)
