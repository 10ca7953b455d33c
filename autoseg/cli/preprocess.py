"""`autoseg preprocess`: the images as the network will see them."""

from __future__ import annotations

import typer

from autoseg import log
from autoseg.cli import options
from autoseg.workspace import Run


def preprocess(
    run: options.ExistingRun,
    configurations: options.Configurations = "auto",
    workers: options.Workers = None,
) -> None:
    """Crop, normalise and resample every case.

    Cases that are done already and still fit the plan are kept.
    """
    from autoseg import pipeline

    log.configure(run_log=Run(run).log)
    pipeline.preprocess(run, configurations=configurations, workers=workers)
    typer.echo(f"preprocessed: {Run(run).root / 'preprocessed'}")
