"""`autoseg predict`: segment new images with a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli import options


def predict(
    run: options.ExistingRun,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", exists=True, help="A folder, a file or several files.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Folder for the segmentations.")],
    configuration: Annotated[
        str | None, typer.Option(metavar="NAME", help="Configuration to use; by default the best of the run.")
    ] = None,
    folds: options.Folds = "all",
    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Write the probability of each class as well.")
    ] = False,
    no_mirroring: Annotated[
        bool, typer.Option("--no-mirroring", help="Leave out the mirrored passes: faster, slightly less exact.")
    ] = False,
    device: options.Device = "auto",
) -> None:
    """Segment images with a trained run.

    An image that does not fit the model is named and the others go on; the exit code is then 2.
    """
    from autoseg import pipeline

    failures = pipeline.predict(
        run,
        images,
        out,
        configuration=configuration,
        folds=folds,
        save_probabilities=save_probabilities,
        mirroring=not no_mirroring,
        device=device,
    )
    for failure in failures:
        typer.echo(f"error: {failure}", err=True)
    typer.echo(f"segmentations: {out}")
    if failures:
        raise typer.Exit(2)
