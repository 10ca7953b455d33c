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
    effort: options.Effort,
    learning: options.Learning,
    choices: options.Choices,
    execution: options.Execution,
) -> None:
    """Train and validate one fold.

    Needs a run that is planned and preprocessed. On several devices of one machine:
    torchrun --nproc-per-node N -m autoseg train ...
    """
    from autoseg import pipeline

    settings = options.settings_of(choices)
    options.follow_along_or_lead(Run(run).log)
    pipeline.train_fold(
        run,
        configuration,
        fold,
        budget=effort.budget,
        steps=effort.steps,
        device=effort.device,
        trainer=learning.trainer,
        loss=learning.loss,
        pretrained=learning.pretrained,
        seed=execution.seed,
        workers=execution.workers,
        resume=execution.resume,
        settings=settings,
    )
    if options.leads():
        typer.echo(f"fold: {Run(run).fold(configuration, fold).root}")
