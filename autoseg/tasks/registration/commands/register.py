"""`autoseg register`: lay one image on another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autoseg.cli import options
from autoseg.tasks.registration.commands import options as registration

if TYPE_CHECKING:
    from autoseg.tasks.registration.record import RegistrationRecord

_File = {"exists": True, "dir_okay": False, "metavar": "FILE"}


def register(
    context: typer.Context,
    fixed: Annotated[Path, typer.Argument(metavar="FIXED", exists=True, help="Image that stays, 2D or 3D.")],
    moving: Annotated[Path, typer.Argument(metavar="MOVING", exists=True, help="Image that is laid on it.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for transform, images and report.")
    ],
    method: registration.MethodName = "multi-stage",
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", exists=True, file_okay=False, help="Register by the network of this run instead of a method."
        ),
    ] = None,
    fold: Annotated[
        str | None, typer.Option(metavar="K", parser=options.parse_fold, help="Whose network of RUN; all-data's first.")
    ] = None,
    regularization: Annotated[
        float | None,
        typer.Option(metavar="W", min=0, help="For a network of many weights, instead of the one that was chosen."),
    ] = None,
    instance_optimisation: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Updates of this very pair after the network; by default a few, by images or by labels it has named.",
        ),
    ] = None,
    stages: registration.Stages = None,
    similarity: registration.Similarity = None,
    deformable_similarity: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another similarity for the deformable stage.")
    ] = None,
    parameterisation: Annotated[
        Literal["diffeomorphic", "velocity", "b-spline"],
        typer.Option(help="Of the deformable stage: smooth updates composed, a velocity field, or a cubic B-spline."),
    ] = "diffeomorphic",
    regularizers: Annotated[
        list[str] | None,
        typer.Option(
            "--regularizer",
            metavar="NAME=WEIGHT",
            help="For velocity and b-spline (see `autoseg list regularizers`); may be given several times.",
        ),
    ] = None,
    levels: Annotated[int | None, typer.Option(metavar="N", min=1, help="Resolutions of the pyramid.")] = None,
    iterations: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="At most so many at each resolution.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="MM", help="Step size of Adam in mm.")] = None,
    simultaneous: Annotated[
        bool, typer.Option("--simultaneous", help="Linear stages fit all resolutions at once, not coarse to fine.")
    ] = False,
    fixed_labels: Annotated[Path | None, typer.Option(help="Labels of the fixed image, for scores.", **_File)] = None,
    moving_labels: Annotated[Path | None, typer.Option(help="Labels of the moving image, warped too.", **_File)] = None,
    fixed_landmarks: Annotated[
        Path | None, typer.Option(help="Points of the fixed image: .csv with x, y, z, .fcsv or .mrk.json.", **_File)
    ] = None,
    moving_landmarks: Annotated[
        Path | None, typer.Option(help="The same points in the moving image, row by row.", **_File)
    ] = None,
    landmark_unit: Annotated[
        Literal["mm", "voxel"], typer.Option(help="Of landmarks in tables: mm of the world, or indices from 0.")
    ] = "mm",
    mask: Annotated[Path | None, typer.Option(help="Non-zero where the fixed image counts.", **_File)] = None,
    moving_mask: Annotated[Path | None, typer.Option(help="Non-zero where the moving image counts.", **_File)] = None,
    label_interpolation: Annotated[
        Literal["nearest", "linear"], typer.Option(help="How labels are warped; nearest is what challenges do.")
    ] = "nearest",
    spec: Annotated[
        Path | None,
        typer.Option(metavar="DATASET_JSON", exists=True, dir_okay=False, help="dataset.json that names the labels."),
    ] = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
) -> None:
    """Register two images.

    Both may lie on any grid; spacing, origin and direction are honoured. DIR gets the warped image and labels, the
    transform as ITK's tools read it, numbers, a picture and a report; an earlier registration in it is replaced.
    """
    weights = dict(map(_weight, regularizers or ())) or None
    if model is None and (fold is not None or regularization is not None or instance_optimisation is not None):
        raise typer.BadParameter("--fold, --regularization and --instance-optimisation need --model RUN")
    options.follow_along_or_lead(out / "run.log")
    from autoseg.tasks.registration.methods import RegistrationOptions
    from autoseg.tasks.registration.pipeline import pair
    from autoseg.tasks.registration.pipeline.inputs import PairFiles, parse_stages
    from autoseg.tasks.registration.pipeline.pair import LearnedModel

    chosen = {
        "stages": parse_stages(stages),
        "similarity": similarity,
        "deformable_similarity": deformable_similarity,
        "parameterisation": parameterisation,
        "regularizers": weights,
        "levels": levels,
        "iterations": iterations,
        "learning_rate": learning_rate,
        "simultaneous": simultaneous,
    }
    network = None if model is None else LearnedModel(model, fold, regularization, instance_optimisation)
    wanted = {name: value for name, value in chosen.items() if value is not None}
    record = pair.register_files(
        PairFiles(
            fixed=fixed,
            moving=moving,
            fixed_labels=fixed_labels,
            moving_labels=moving_labels,
            fixed_landmarks=fixed_landmarks,
            moving_landmarks=moving_landmarks,
            mask=mask,
            moving_mask=moving_mask,
            landmark_unit=landmark_unit,
            spec=spec,
        ),
        out,
        method=method,
        options=RegistrationOptions.from_mapping(wanted) if network is None or stages is not None else None,
        model=network,
        label_interpolation=label_interpolation,
        seed=seed or 0,
        device=device,
        command=options.command_line(context),
    )
    show_registration(record)
    typer.echo(f"all numbers: {out / 'metrics.json'}")
    typer.echo(f"report: {out / 'report.html'}")


def show_registration(record: RegistrationRecord) -> None:
    """Prints stages, evidence and warnings."""
    from autoseg.cli.tables import show

    rows = [
        [one.name, one.similarity, _number(one.before), _number(one.after), str(one.iterations), f"{one.seconds:.1f}"]
        for one in record.stages
        if not one.dropped
    ]
    show("stages", ["", "similarity", "before", "after", "iterations", "seconds"], rows)
    quality = record.quality
    labels = [
        [name, _number(one.dice_before), _number(one.dice), _number(one.hd95_before, 2), _number(one.hd95, 2)]
        for name, one in quality.labels.items()
    ]
    if labels:
        show("labels", ["", "Dice before", "after", "HD95 before [mm]", "after"], labels)
    if quality.landmarks is not None:
        marks = quality.landmarks
        errors = [
            [name, *(f"{getattr(one, key):.2f}" for key in ("mean", "median", "p90", "max")), f"{relative.median:.4f}"]
            for name, one, relative in (
                ("before", marks.before, marks.relative_before),
                ("after", marks.after, marks.relative_after),
            )
        ]
        title = f"distance of {marks.count} landmarks [mm]"
        show(title, ["", "mean", "median", "90 %", "largest", "median / diagonal"], errors)
    space = quality.deformation
    typer.echo(
        f"folded voxels: {space.nonpositive_percent:.3f} %; SD of log-Jacobian: {_number(space.log_jacobian_std)}; "
        f"largest displacement: {space.displacement_max:.2f} mm"
    )
    for text in record.warnings:
        typer.echo(f"warning: {text}")


def _weight(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not NAME=WEIGHT, for example diffusion=0.1") from None


def _number(value: float | None, places: int = 3) -> str:
    return "-" if value is None else f"{value:.{places}f}"
