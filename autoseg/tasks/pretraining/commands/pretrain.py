"""`autoseg pretrain`: an encoder from images without labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli import options
from autoseg.workspace import Run


@dataclass(frozen=True)
class Pretraining:
    """What is learned from which images, and for which network."""

    method: Annotated[str, typer.Option(metavar="NAME", help="Method (see `autoseg list pretrainings`).")] = (
        "masked-autoencoder"
    )
    hold_out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:FOLD",
            help="Keep out every validation image of a fold, and images with the same voxels, as in splits.json:0.",
        ),
    ] = None
    target: Annotated[
        Path | None,
        typer.Option(
            "--for",
            metavar="RUN",
            exists=True,
            file_okay=False,
            help="Planned run that the encoder is for: its plan is taken.",
        ),
    ] = None
    configuration: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Configuration whose encoder is trained.",
            show_default="3d_fullres, or 2d for 2D images",
        ),
    ] = None


def pretrain(
    context: typer.Context,
    datasets: Annotated[
        list[str],
        typer.Argument(
            metavar="DATASET...",
            help="Folders with images, labelled or not, or files that list images (.txt, .csv); "
            "FOLDER=2 draws each of its images twice as often.",
        ),
    ],
    out: options.NewRun,
    *,
    pretraining: Pretraining,
    planner: options.Planner = None,
    effort: options.Effort,
    choices: options.Choices,
    execution: options.Execution,
) -> None:
    """Learn an encoder from images without labels.

    Training and test images are both used. `autoseg plan-and-train DATASET --pretrained RUN` goes on with it, and
    `autoseg probe DATASET --pretrained RUN` says how much of the labels it knows already.
    """
    from autoseg.pipeline.request import TrainingRequest
    from autoseg.tasks.pretraining.pipeline import collect, pretrain

    settings = options.settings_of(choices)
    folders = [collect.parse_source(text) for text in datasets]
    held_out = None if pretraining.hold_out is None else collect.parse_hold_out(pretraining.hold_out)
    options.follow_along_or_lead(Run(out).log)
    training = TrainingRequest.of(
        planner=planner, settings=settings, command=options.command_line(context), **vars(effort), **vars(execution)
    )
    request = pretrain.PretrainingRequest(
        folders=tuple(folders),
        method=pretraining.method,
        hold_out=held_out,
        target=pretraining.target,
        configuration=pretraining.configuration,
        training=training,
    )
    pretrained = pretrain.pretrain(out, request)
    typer.echo(f"encoder: {pretrained.run.fold(pretrained.configuration, 'all').final}")
    typer.echo(f"report: {Run(out).report}")
    typer.echo(f"next: autoseg plan-and-train DATASET --out OTHER --pretrained {out}")
