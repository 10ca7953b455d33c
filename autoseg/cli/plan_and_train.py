"""`autoseg plan-and-train`: everything from a data set's folder to the report."""

from __future__ import annotations

import typer

from autoseg import log
from autoseg.cli import options
from autoseg.workspace import Run


def plan_and_train(
    context: typer.Context,
    dataset: options.DatasetFolder,
    out: options.NewRun,
    configurations: options.Configurations = "auto",
    folds: options.Folds = "all",
    budget: options.Budget = None,
    steps: options.Steps = None,
    device: options.Device = "auto",
    planner: options.Planner = None,
    trainer: options.Trainer = "segmentation",
    loss: options.Loss = None,
    pretrained: options.Pretrained = None,
    seed: options.Seed = 0,
    workers: options.Workers = None,
    resume: options.Resume = False,
) -> None:
    """Do everything, from a data set to a report.

    Checks, measures, plans, preprocesses, trains, validates, chooses the post-processing and reports, with
    nothing to configure.
    """
    from autoseg import pipeline
    from autoseg.cli import tables

    log.configure(run_log=Run(out).log)
    pipeline.plan_and_train(
        dataset,
        out,
        configurations=configurations,
        folds=folds,
        budget=budget,
        steps=steps,
        device=device,
        planner=planner,
        trainer=trainer,
        loss=loss,
        pretrained=pretrained,
        seed=seed,
        workers=workers,
        resume=resume,
        command=options.command_line(context),
    )
    tables.show_results(Run(out))
