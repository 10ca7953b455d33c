"""`autoseg train`: one fold of one configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from autoseg import log
from autoseg.cli import options
from autoseg.workspace import Run


def train(
    run: options.ExistingRun,
    configuration: Annotated[str, typer.Option(metavar="NAME", help="Configuration of the plan, such as 3d_fullres.")],
    fold: Annotated[int, typer.Option(metavar="K", min=0, help="Fold whose cases are kept for validation.")],
    budget: options.Budget = None,
    steps: options.Steps = None,
    device: options.Device = "auto",
    trainer: options.Trainer = "segmentation",
    loss: options.Loss = None,
    pretrained: options.Pretrained = None,
    seed: options.Seed = 0,
    workers: options.Workers = None,
    resume: options.Resume = False,
) -> None:
    """Train and validate one fold.

    Needs a run that is planned and preprocessed.
    """
    from autoseg import pipeline

    log.configure(run_log=Run(run).log)
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
    )
    typer.echo(f"fold: {Run(run).fold(configuration, fold).root}")
