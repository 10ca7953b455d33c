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
    from autoseg.pipeline.request import TrainingRequest

    settings = options.settings_of(choices)
    options.follow_along_or_lead(Run(run).log)
    request = TrainingRequest.of(settings=settings, **vars(effort), **vars(learning), **vars(execution))
    pipeline.train_fold(run, configuration, fold, request)
    if options.leads():
        typer.echo(f"fold: {Run(run).fold(configuration, fold).root}")
