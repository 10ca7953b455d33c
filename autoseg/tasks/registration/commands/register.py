"""`autoseg register`: lay one image on another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autoseg.cli import options
from autoseg.cli.option_records import with_option_records
from autoseg.tasks.registration.commands.options import MethodName, Similarity, Stages, registration_options

if TYPE_CHECKING:
    from autoseg.tasks.registration.methods import RegistrationOptions
    from autoseg.tasks.registration.pipeline.inputs import PairFiles
    from autoseg.tasks.registration.pipeline.pair import LearnedModel
    from autoseg.tasks.registration.record import RegistrationRecord

_File = {"exists": True, "dir_okay": False, "metavar": "FILE"}


@dataclass(frozen=True)
class ModelOptions:
    """A network to register by."""

    model: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", exists=True, file_okay=False, help="Register by the network of this run instead of a method."
        ),
    ] = None
    fold: Annotated[
        str | None, typer.Option(metavar="K", parser=options.parse_fold, help="Whose network of RUN; all-data's first.")
    ] = None
    regularization: Annotated[
        float | None,
        typer.Option(metavar="W", min=0, help="For a network of many weights, instead of the one that was chosen."),
    ] = None
    instance_optimisation: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Updates of this very pair after the network; by default a few, by images or by labels it has named.",
        ),
    ] = None

    def check(self) -> None:
        """Refuses what is meant for a network where none is named.

        Raises:
            typer.BadParameter: an option needs `--model`.
        """
        choices = self.fold, self.regularization, self.instance_optimisation
        if self.model is None and any(choice is not None for choice in choices):
            raise typer.BadParameter("--fold, --regularization and --instance-optimisation need --model RUN")

    def learned_model(self) -> LearnedModel | None:
        """The network and how it is used; None where a method registers."""
        from autoseg.tasks.registration.pipeline.pair import LearnedModel

        if self.model is None:
            return None
        return LearnedModel(self.model, self.fold, self.regularization, self.instance_optimisation)


@dataclass(frozen=True)
class FitOptions:
    """What is asked of a method."""

    stages: Stages = None
    similarity: Similarity = None
    deformable_similarity: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another similarity for the deformable stage.")
    ] = None
    parameterisation: Annotated[
        Literal["diffeomorphic", "velocity", "b-spline"],
        typer.Option(help="Of the deformable stage: smooth updates composed, a velocity field, or a cubic B-spline."),
    ] = "diffeomorphic"
    regularizers: Annotated[
        list[str] | None,
        typer.Option(
            "--regularizer",
            metavar="NAME=WEIGHT",
            help="For velocity and b-spline (see `autoseg list regularizers`); may be given several times.",
        ),
    ] = None
    levels: Annotated[int | None, typer.Option(metavar="N", min=1, help="Resolutions of the pyramid.")] = None
    iterations: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most so many at each resolution.")] = (
        None
    )
    learning_rate: Annotated[float | None, typer.Option(metavar="MM", help="Step size of Adam in mm.")] = None
    simultaneous: Annotated[
        bool, typer.Option("--simultaneous", help="Linear stages fit all resolutions at once, not coarse to fine.")
    ] = False

    def weights(self) -> dict[str, float] | None:
        """Regulariser -> weight; None without any.

        Raises:
            typer.BadParameter: a text that is not NAME=WEIGHT.
        """
        return dict(map(_weight, self.regularizers or ())) or None

    def registration_options(self) -> RegistrationOptions:
        """The same for the pipeline."""
        return registration_options(**{**asdict(self), "regularizers": self.weights()})


@dataclass(frozen=True)
class EvidenceOptions:
    """What belongs to the images: evidence of how good the result is, and where they count."""

    fixed_labels: Annotated[Path | None, typer.Option(help="Labels of the fixed image, for scores.", **_File)] = None
    moving_labels: Annotated[Path | None, typer.Option(help="Labels of the moving image, warped too.", **_File)] = None
    fixed_landmarks: Annotated[
        Path | None, typer.Option(help="Points of the fixed image: .csv with x, y, z, .fcsv or .mrk.json.", **_File)
    ] = None
    moving_landmarks: Annotated[
        Path | None, typer.Option(help="The same points in the moving image, row by row.", **_File)
    ] = None
    landmark_unit: Annotated[
        Literal["mm", "voxel"], typer.Option(help="Of landmarks in tables: mm of the world, or indices from 0.")
    ] = "mm"
    mask: Annotated[Path | None, typer.Option(help="Non-zero where the fixed image counts.", **_File)] = None
    moving_mask: Annotated[Path | None, typer.Option(help="Non-zero where the moving image counts.", **_File)] = None
    label_interpolation: Annotated[
        Literal["nearest", "linear"], typer.Option(help="How labels are warped; nearest is what challenges do.")
    ] = "nearest"
    spec: Annotated[
        Path | None,
        typer.Option(metavar="DATASET_JSON", exists=True, dir_okay=False, help="dataset.json that names the labels."),
    ] = None

    def pair_files(self, fixed: Path, moving: Path) -> PairFiles:
        """All files of the registration of two images."""
        from autoseg.tasks.registration.pipeline.inputs import PairFiles

        files = {name: value for name, value in asdict(self).items() if name != "label_interpolation"}
        return PairFiles(fixed, moving, **files)


@with_option_records
def register(
    context: typer.Context,
    fixed: Annotated[Path, typer.Argument(metavar="FIXED", exists=True, help="Image that stays, 2D or 3D.")],
    moving: Annotated[Path, typer.Argument(metavar="MOVING", exists=True, help="Image that is laid on it.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for transform, images and report.")
    ],
    *,
    method: MethodName = "multi-stage",
    model: ModelOptions,
    fit: FitOptions,
    evidence: EvidenceOptions,
    seed: options.Seed = None,
    device: options.Device = "auto",
) -> None:
    """Register two images.

    Both may lie on any grid; spacing, origin and direction are honoured. DIR gets the warped image and labels, the
    transform as ITK's tools read it, numbers, a picture and a report; an earlier registration in it is replaced.
    """
    fit.weights()  # what is wrong is said before a log is begun
    model.check()
    options.follow_along_or_lead(out / "run.log")
    from autoseg.tasks.registration.pipeline.pair import register_files
    from autoseg.tasks.registration.pipeline.request import RegistrationRequest

    # of a network only linear stages are asked, and those only if they are named
    asked = fit.registration_options() if model.model is None or fit.stages is not None else None
    record = register_files(
        evidence.pair_files(fixed, moving),
        out,
        RegistrationRequest(method=method, options=asked, seed=seed or 0, device=device),
        model=model.learned_model(),
        label_interpolation=evidence.label_interpolation,
        command=options.command_line(context),
    )
    show_registration(record)
    typer.echo(f"all numbers: {out / 'metrics.json'}")
    typer.echo(f"report: {out / 'report.html'}")


def show_registration(record: RegistrationRecord) -> None:
    """Prints stages, evidence and warnings."""
    from autoseg.cli.tables import show

    stages = [
        [
            stage.name,
            stage.similarity,
            _number(stage.before),
            _number(stage.after),
            str(stage.iterations),
            f"{stage.seconds:.1f}",
        ]
        for stage in record.stages
        if not stage.dropped
    ]
    show("stages", ["", "similarity", "before", "after", "iterations", "seconds"], stages)
    quality = record.quality
    labels = [
        [name, _number(label.dice_before), _number(label.dice), _number(label.hd95_before, 2), _number(label.hd95, 2)]
        for name, label in quality.labels.items()
    ]
    if labels:
        show("labels", ["", "Dice before", "after", "HD95 before [mm]", "after"], labels)
    if quality.landmarks is not None:
        landmarks = quality.landmarks
        distances = [
            [name, *(f"{getattr(mm, key):.2f}" for key in ("mean", "median", "p90", "max")), f"{relative.median:.4f}"]
            for name, mm, relative in (
                ("before", landmarks.before, landmarks.relative_before),
                ("after", landmarks.after, landmarks.relative_after),
            )
        ]
        title = f"distance of {landmarks.count} landmarks [mm]"
        show(title, ["", "mean", "median", "90 %", "largest", "median / diagonal"], distances)
    deformation = quality.deformation
    typer.echo(
        f"folded voxels: {deformation.nonpositive_percent:.3f} %; "
        f"SD of log-Jacobian: {_number(deformation.log_jacobian_std)}; "
        f"largest displacement: {deformation.displacement_max:.2f} mm"
    )
    for text in record.warnings:
        typer.echo(f"warning: {text}")


def _weight(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not NAME=WEIGHT, for example diffusion=0.1") from None


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
