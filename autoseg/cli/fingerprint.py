"""`autoseg fingerprint`: measure a data set."""

from __future__ import annotations

import typer

from autoseg import log
from autoseg.cli import options
from autoseg.workspace import Run


def fingerprint(dataset: options.DatasetFolder, out: options.NewRun, workers: options.Workers = None) -> None:
    """Check and measure a data set.

    Writes dataset.json and fingerprint.json into the run folder.
    """
    from autoseg import pipeline

    log.configure(run_log=Run(out).log)
    pipeline.fingerprint_dataset(dataset, out, workers=workers)
    typer.echo(f"fingerprint: {Run(out).fingerprint}")
