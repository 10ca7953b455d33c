"""`autoseg probe`: what a pretrained encoder knows of the labels, before it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli import options
from autoseg.workspace import Run


def probe(
    context: typer.Context,
    dataset: options.DatasetFolder,
    pretrained: Annotated[
        Path,
        typer.Option(metavar="RUN", exists=True, file_okay=False, help="Run of `autoseg pretrain`."),
    ],
    out: options.NewRun,
    *,
    fold: options.Fold = "0",
    budget: options.Budget = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Optimiser steps, instead of a budget.", show_default="500")
    ] = None,
    device: options.Device = "auto",
    splits: options.Splits = None,
    choices: options.Choices,
    seed: options.Seed = None,
    workers: options.Workers = None,
) -> None:
    """Train a linear read-out on a frozen encoder.

    It learns from the training cases of a fold and is scored on its validation cases, which the pretraining must not
    have seen.
    """
    from autoseg.cli import tables
    from autoseg.pipeline.request import TrainingRequest
    from autoseg.tasks.pretraining.pipeline import probe

    settings = options.settings_of(choices, options.Splitting(splits=splits))
    options.follow_along_or_lead(Run(out).log)
    training = TrainingRequest.of(
        budget=budget, steps=steps, device=device, seed=seed, workers=workers, settings=settings,
        command=options.command_line(context),
    )  # fmt: skip
    probe.probe(dataset, pretrained, out, fold=fold, training=training)
    tables.show_results(Run(out))
