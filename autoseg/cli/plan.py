"""`autoseg plan`: decide everything that the data decides, and show what it costs."""

from __future__ import annotations

import typer

from autoseg import log
from autoseg.cli import options
from autoseg.workspace import Run


def plan(
    run: options.ExistingRun,
    planner: options.Planner = None,
    budget: options.Budget = None,
    device: options.Device = "auto",
) -> None:
    """Plan from the fingerprint, show the costs.

    Writes plan.json and prints each configuration with its receptive field, parameters, multiply-adds and
    memory.
    """
    from autoseg import pipeline
    from autoseg.cli import tables

    log.configure(run_log=Run(run).log)
    made = pipeline.make_plan(run, planner=planner, budget=budget, device=device)
    tables.show_plan(made)
    typer.echo(f"plan: {Run(run).plan}")
