"""`autoseg build-atlas`: the mean image and mean labels of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli import options
from autoseg.tasks.registration.commands import options as registration

if TYPE_CHECKING:
    from autoseg.tasks.registration.pipeline.atlas import MeanAtlas


def build_atlas(
    context: typer.Context,
    dataset: options.DatasetFolder,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for template and mean labels.")
    ],
    iterations: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds of registering and averaging.")] = 5,
    method: registration.MethodName = "multi-stage",
    stages: registration.Stages = None,
    similarity: registration.Similarity = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on in DIR where an interrupted call stopped, or with more rounds.")
    ] = False,
) -> None:
    """Average a data set in intensity and shape.

    Every case is registered to the mean of all, again and again; the mean of the transforms shapes the next mean.
    """
    options.follow_along_or_lead(out / "run.log")
    from autoseg.tasks.registration.pipeline import atlas as pipeline

    atlas = pipeline.build_atlas(
        dataset,
        out,
        iterations=iterations,
        method=method,
        options=registration.registration_options(stages, similarity),
        seed=seed or 0,
        device=device,
        workers=workers,
        resume=resume,
        plugin_files=tuple(context.find_root().params.get("plugin") or ()),
    )
    show_atlas(atlas)
    typer.echo(f"template: {out / 'template.nii.gz'}")
    typer.echo(f"labels: {out / 'labels.nii.gz'}")


def show_atlas(atlas: MeanAtlas) -> None:
    """Prints how far the template moved in each iteration."""
    from autoseg.cli.tables import show

    rows = [
        [str(number), ", ".join(one.stages), f"{one.change:.4f}", f"{one.shape_change:.3f}", str(len(one.failed) or "")]
        for number, one in enumerate(atlas.iterations, start=1)
    ]
    headings = ["iteration", "stages", "change of intensities (0..1)", "of shape [mm]", "cases left out"]
    show(f"mean of {len(atlas.cases)} cases", headings, rows)
