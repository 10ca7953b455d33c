"""`autoseg plan-and-train`: everything from a data set's folder to the report."""

from __future__ import annotations

import typer

from autoseg.cli import options
from autoseg.workspace import Run


def plan_and_train(
    context: typer.Context,
    dataset: options.DatasetFolder,
    out: options.NewRun,
    *,
    configurations: options.Configurations = "auto",
    folds: options.Folds = "all",
    effort: options.Effort,
    planner: options.Planner = None,
    memory: options.Memory = None,
    learning: options.Learning,
    splitting: options.Splitting,
    choices: options.Choices,
    images: options.ImageReading,
    labels: options.LabelReading,
    execution: options.Execution,
) -> None:
    """Do everything, from a data set to a report.

    Checks, measures, plans, preprocesses, trains, validates, chooses the best configuration or ensemble and its
    post-processing, and reports, with nothing to configure.
    """
    from autoseg import pipeline
    from autoseg.cli import tables
    from autoseg.pipeline.request import TrainingRequest

    settings = options.settings_of(choices, splitting)
    options.follow_along_or_lead(Run(out).log)
    request = TrainingRequest.of(
        configurations=configurations,
        folds=folds,
        planner=planner,
        memory=options.gigabytes(memory),
        settings=settings,
        reading=options.reading_of(images, labels),
        command=options.command_line(context),
        **vars(effort),
        **vars(learning),
        **vars(execution),
    )
    pipeline.plan_and_train(dataset, out, request)
    if options.leads():
        tables.show_results(Run(out))
