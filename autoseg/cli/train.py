"""`autoseg train`: one fold of one configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from autoseg.cli import options
from autoseg.workspace import Run


def train(
    run: options.ExistingRun,
    configuration: Annotated[str, typer.Option(metavar="NAME", help="Configuration of the plan, such as 3d_fullres.")],
    fold: options.Fold,
    budget: options.Budget = None,
    steps: options.Steps = None,
    device: options.Device = "auto",
    trainer: options.Trainer = None,
    loss: options.Loss = None,
    pretrained: options.Pretrained = None,
    config: options.ConfigFile = None,
    assignments: options.Assignments = None,
    seed: options.Seed = None,
    workers: options.Workers = None,
    resume: options.Resume = False,
) -> None:
    """Train and validate one fold.

    Needs a run that is planned and preprocessed. On several devices of one machine:
    torchrun --nproc-per-node N -m autoseg train ...
    """
    from autoseg import pipeline

    settings = options.settings_of(config, assignments)
    options.follow_along_or_lead(Run(run).log)
    pipeline.train_fold(
        run,
        configuration,
        fold,
        budget=budget,
        steps=steps,
        device=device,
        trainer=trainer,
        loss=loss,
        pretrained=pretrained,
        seed=seed,
        workers=workers,
        resume=resume,
        settings=settings,
    )
    if options.leads():
        typer.echo(f"fold: {Run(run).fold(configuration, fold).root}")
