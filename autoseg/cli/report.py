"""`autoseg report`: one self-contained page about a run."""

from __future__ import annotations

import typer

from autoseg import log
from autoseg.cli import options
from autoseg.errors import WorkspaceError
from autoseg.workspace import Run


def report(run: options.ExistingRun) -> None:
    """Write the page about a run.

    Takes what the run folder holds, also of a run that is not finished. Files of it that cannot be read are named,
    and make the exit code 2.
    """
    from autoseg.records import write_text
    from autoseg.report.build import render
    from autoseg.report.gather import gather
    from autoseg.run_state import RunState

    if not RunState.read(Run(run)).is_run:
        raise WorkspaceError(
            "is no run folder",
            where=run,
            expected="a folder that `autoseg plan-and-train`, fingerprint, pretrain or import-nnunet made",
            remedy="check the path",
        )
    log.configure(run_log=Run(run).log)
    records = gather(Run(run))
    write_text(Run(run).report, render(records))
    typer.echo(f"report: {Run(run).report}")
    for problem in records.problems:
        typer.echo(f"error: {problem}", err=True)
    if records.problems:
        raise typer.Exit(2)
