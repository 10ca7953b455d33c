"""`autoseg plan-and-train`: everything from a data set's folder to the report."""

from __future__ import annotations

import typer

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
    memory: options.Memory = None,
    trainer: options.Trainer = None,
    loss: options.Loss = None,
    pretrained: options.Pretrained = None,
    splits: options.Splits = None,
    group_by: options.GroupBy = None,
    stratify: options.Stratify = False,
    config: options.ConfigFile = None,
    assignments: options.Assignments = None,
    seed: options.Seed = None,
    workers: options.Workers = None,
    resume: options.Resume = False,
) -> None:
    """Do everything, from a data set to a report.

    Checks, measures, plans, preprocesses, trains, validates, chooses the best configuration or ensemble and its
    post-processing, and reports, with nothing to configure.
    """
    from autoseg import pipeline
    from autoseg.cli import tables

    settings = options.settings_of(config, assignments, splits=splits, group_by=group_by, stratify=stratify)
    options.follow_along_or_lead(Run(out).log)
    pipeline.plan_and_train(
        dataset,
        out,
        configurations=configurations,
        folds=folds,
        budget=budget,
        steps=steps,
        device=device,
        planner=planner,
        memory=None if memory is None else options.parse_memory(memory),
        trainer=trainer,
        loss=loss,
        pretrained=pretrained,
        seed=seed,
        workers=workers,
        resume=resume,
        settings=settings,
        command=options.command_line(context),
    )
    if options.leads():
        tables.show_results(Run(out))
