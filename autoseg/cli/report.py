"""`autoseg report`: one self-contained page about a run."""

from __future__ import annotations

import typer

from autoseg import log
from autoseg.cli import options
from autoseg.workspace import Run


def report(run: options.ExistingRun) -> None:
    """Write the page about a run.

    Takes what the run folder holds, also of a run that is not finished.
    """
    from autoseg.report.build import write_report

    log.configure(run_log=Run(run).log)
    typer.echo(f"report: {write_report(Run(run))}")
