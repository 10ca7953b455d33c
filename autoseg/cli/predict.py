"""`autoseg predict`: segment new images with a trained run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from autoseg.cli import options


@dataclass(frozen=True)
class Application:
    """How the networks are applied, and what is written beside the segmentations."""

    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Write the probability of each class as well.")
    ] = False
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Write a map of where the networks contradict each other as well.")
    ] = False
    keep_existing: Annotated[
        bool, typer.Option("--keep-existing", help="Go on after an interruption: leave images that are done.")
    ] = False
    no_mirroring: Annotated[
        bool, typer.Option("--no-mirroring", help="Leave out the mirrored passes: faster, slightly less exact.")
    ] = False
    skip_empty: Annotated[
        bool,
        typer.Option(
            "--skip-empty",
            help="Leave out tiles without tissue, where every voxel has the same value: they become background.",
        ),
    ] = False


def predict(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", exists=True, help="Run folder, or a zip file made by `autoseg export`.")
    ],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", exists=True, help="A folder, a file or several files.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Folder for the segmentations.")],
    model: options.ModelChoice,
    application: Application,
    reading: options.ImageReading,
    device: options.Device = "auto",
) -> None:
    """Segment images with a trained run.

    An image that does not fit the model is named and the others go on; the exit code is then 2. DIR also gets
    uncertainty.json: how good each segmentation is expected to be. Several GPUs divide the images:
    torchrun --nproc-per-node N -m autoseg predict ...
    """
    from autoseg import pipeline
    from autoseg.cli import tables

    failures = pipeline.predict(
        run,
        images,
        out,
        configuration=model.configuration,
        folds=model.folds,
        save_probabilities=application.save_probabilities,
        uncertainty=application.uncertainty,
        keep_existing=application.keep_existing,
        mirroring=not application.no_mirroring,
        skip_empty=application.skip_empty,
        device=device,
        reading=options.reading_of(reading),
    )
    for failure in failures:
        typer.echo(f"error: {failure}", err=True)
    estimates = out / "uncertainty.json"
    if options.leads():
        if estimates.exists():
            tables.show_uncertainty(estimates)
        typer.echo(f"segmentations: {out}")
    if failures:
        raise typer.Exit(2)
