"""`autoseg export`: a trained model in a form to share or to deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from autoseg.cli import options


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", exists=True, help="Run folder, or a model file made by this command.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file to write; for nnunet a new folder.")],
    form: Annotated[
        Literal["zip", "onnx", "nnunet"],
        typer.Option(
            "--format", help="zip: for `autoseg predict` elsewhere; onnx: for other software; nnunet: for nnU-Net v2."
        ),
    ] = "zip",
    configuration: options.ModelConfiguration = None,
    folds: options.ModelFolds = "all",
) -> None:
    """Write a trained model to a file.

    The zip holds plan, weights, scores and post-processing, and nothing that names a case or a path. An ONNX graph
    holds the network alone; it is compared with PyTorch before it is kept, and a JSON file beside it says what must
    be done around it. With nnunet it is a folder that nnU-Net v2 predicts with; what that cannot hold is said.
    """
    if form == "nnunet":
        _export_nnunet(run, out, configuration, folds)
        return
    if out.is_dir():
        raise typer.BadParameter(f"File '{out}' is a directory.", param_hint="'--out'")
    if form == "onnx":
        _export_onnx(run, out, configuration, folds)
    else:
        _export_zip(run, out, configuration, folds)


def _export_zip(run: Path, out: Path, configuration: str | None, folds: str) -> None:
    from autoseg import pipeline

    manifest = pipeline.export_zip(run, out, configuration=configuration, folds=folds)
    typer.echo(f"model: {out}, {_megabytes(out)}, {len(manifest.files) + 1} files")
    for name, names in manifest.folds.items():
        stage = "" if name in manifest.configurations else " (previous stage)"
        typer.echo(f"  {name}{stage}: fold {', '.join(names)}")
    typer.echo(f"use it with: autoseg predict {out} IMAGES --out DIR")


def _export_onnx(run: Path, out: Path, configuration: str | None, folds: str) -> None:
    from autoseg import pipeline

    for model in pipeline.export_onnx(run, out, configuration=configuration, folds=folds):
        typer.echo(f"model: {model.path}, {_megabytes(model.path)}, described in {model.description.name}")
        typer.echo(f"  {model.configuration}: mean of fold {', '.join(model.folds)}")
        typer.echo(
            f"  against PyTorch: largest difference {model.check.largest_difference:.1e} of the logits' range, "
            f"{100 * model.check.equal_labels:.3f} % equal labels"
        )


def _export_nnunet(run: Path, out: Path, configuration: str | None, folds: str) -> None:
    from autoseg.exchange.nnunet.pipeline import models

    written = models.export_nnunet(run, out, configuration=configuration, folds=folds)
    for model in written.models:
        typer.echo(f"model: {model.folder}")
        typer.echo(f"  {model.configuration}: fold {', '.join(model.folds)}")
        typer.echo(
            f"use it with: nnUNetv2_predict_from_modelfolder -i IMAGES -o DIR -m {model.folder} "
            f"-f {' '.join(model.folds)}"
        )
    for note in written.notes:
        typer.echo(f"note: {note}")


def _megabytes(path: Path) -> str:
    beside = path.with_name(f"{path.name}.data")
    size = path.stat().st_size + (beside.stat().st_size if beside.exists() else 0)
    return f"{size / 1e6:.1f} MB"
