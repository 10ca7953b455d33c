"""`autoseg import-nnunet`: a trained model of nnU-Net v2 as a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from autoseg.cli import options


def import_nnunet(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL_DIR",
            exists=True,
            help="Folder with plans.json, dataset.json and fold_*/checkpoint_final.pth, or one that holds several.",
        ),
    ],
    out: options.NewRun,
    checkpoint: Annotated[
        Literal["final", "best"], typer.Option(help="Which of nnU-Net's checkpoints to take of each fold.")
    ] = "final",
) -> None:
    """Make a run of a model that nnU-Net v2 trained.

    The run predicts, exports, and starts other trainings (--pretrained). Nothing in nnU-Net's files is run: weights
    are read as plain tensors, and post-processing from its JSON, not from its pickle.
    """
    from autoseg.exchange.nnunet.pipeline import models

    imported = models.import_nnunet(model, out, checkpoint=checkpoint, command=options.command_line(context))
    for configuration in imported:
        dice = (
            "no scores"
            if configuration.dice is None
            else f"mean foreground Dice {configuration.dice:.4f} in nnU-Net's validation"
        )
        typer.echo(f"{configuration.name}: fold {', '.join(configuration.folds)}; {dice}")
    unscored = all(configuration.dice is None for configuration in imported)
    unknown = len(imported) > 1 and unscored  # which of them is the best
    choice = f" --configuration {imported[-1].name}" if unknown else ""
    typer.echo(f"use it with: autoseg predict {out} IMAGES --out DIR{choice}")
    typer.echo(f"go on training it with: autoseg plan-and-train DATASET --out OTHER --pretrained {out}")
