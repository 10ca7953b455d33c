"""`autoseg export`: a trained model in a form to share or to deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autoseg.cli import options
from autoseg.cli.descriptions import describe


def _format_option() -> Any:
    """The option `--format`, whose help says what each format is for."""
    formats = describe("model format")
    text = "; ".join(f"{name}: {line}" for name, line in formats.items())
    return typer.Option("--format", metavar=f"<{'|'.join(formats)}>", help=f"{text}.")


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", exists=True, help="Run folder, or a model file made by this command.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file to write; for nnunet a new folder.")],
    *,
    form: Annotated[str, _format_option()] = "zip",
    model: options.ModelChoice,
) -> None:
    """Write a trained model to a file.

    The zip holds plan, weights, scores and post-processing, and nothing that names a case or a path. An ONNX graph
    holds the network alone; it is compared with PyTorch before it is kept, and a JSON file beside it says what must
    be done around it. With nnunet it is a folder that nnU-Net v2 predicts with; what that cannot hold is said.
    """
    from autoseg.inference.formats import write_model
    from autoseg.pipeline.choices import fold_names

    for line in write_model(form, run, out, configuration=model.configuration, folds=fold_names(model.folds)):
        typer.echo(line)
