"""`autoseg plan`: decide everything that the data decides, and show what it costs."""

from __future__ import annotations

from typing import Annotated

import typer

from autoseg import log
from autoseg.cli import options
from autoseg.workspace import Run


def plan(
    run: options.ExistingRun,
    planner: options.Planner = None,
    budget: options.Budget = None,
    device: options.Device = "auto",
    memory: options.Memory = None,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="Plan a cascade also where the images are small enough without.")
    ] = False,
) -> None:
    """Plan from the fingerprint, show the costs.

    Writes plan.json and prints each configuration with its receptive field, parameters, multiply-adds and
    memory.
    """
    from autoseg import pipeline
    from autoseg.cli import tables

    log.configure(run_log=Run(run).log)
    gigabytes = options.gigabytes(memory)
    decided = pipeline.make_plan(run, planner=planner, budget=budget, device=device, memory=gigabytes, cascade=cascade)
    tables.show_plan(decided)
    typer.echo(f"plan: {Run(run).plan}")
