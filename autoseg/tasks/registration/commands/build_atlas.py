"""`autoseg build-atlas`: the mean image and mean labels of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli import options
from autoseg.cli.option_records import with_option_records
from autoseg.tasks.registration.commands.options import SubjectsOptions

if TYPE_CHECKING:
    from autoseg.tasks.registration.pipeline.atlas import MeanAtlas


@with_option_records
def build_atlas(
    context: typer.Context,
    dataset: options.DatasetFolder,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for template and mean labels.")
    ],
    *,
    iterations: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds of registering and averaging.")] = 5,
    subjects: SubjectsOptions,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on in DIR where an interrupted call stopped, or with more rounds.")
    ] = False,
) -> None:
    """Average a data set in intensity and shape.

    Every case is registered to the mean of all, again and again; the mean of the transforms shapes the next mean.
    """
    options.follow_along_or_lead(out / "run.log")
    from autoseg.tasks.registration.pipeline import atlas as pipeline

    atlas = pipeline.build_atlas(dataset, out, subjects.request(context, resume=resume), iterations=iterations)
    show_atlas(atlas)
    typer.echo(f"template: {out / 'template.nii.gz'}")
    typer.echo(f"labels: {out / 'labels.nii.gz'}")


def show_atlas(atlas: MeanAtlas) -> None:
    """Prints how far the template moved in each iteration."""
    from autoseg.cli.tables import show

    rows = [
        [
            str(number),
            ", ".join(iteration.stages),
            f"{iteration.change:.4f}",
            f"{iteration.shape_change:.3f}",
            str(len(iteration.failed) or ""),
        ]
        for number, iteration in enumerate(atlas.iterations, start=1)
    ]
    headings = ["iteration", "stages", "change of intensities (0..1)", "of shape [mm]", "cases left out"]
    show(f"mean of {len(atlas.cases)} cases", headings, rows)
