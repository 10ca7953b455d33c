"""A run's model in a form to share or to deploy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.exchange.archive.reading import ArchiveManifest, model_folder
from autoseg.exchange.archive.writing import write_archive
from autoseg.pipeline.choices import fold_names
from autoseg.workspace import Run

if TYPE_CHECKING:
    from autoseg.exchange.onnx.writing import OnnxModel


def export_zip(
    run: Path, out: Path, *, configuration: str | None = None, folds: str | Sequence[str] = "all"
) -> ArchiveManifest:
    """Writes one file that `predict` takes in place of the run (`inference.archive_writing.write_archive`).

    Args:
        run: a run folder, or a model file of which a part is to be shared.
        out: the zip file.
        configuration: a name, or names joined by "+"; None takes the best.
        folds: "all", "all-data" (the model trained on every case), or numbers joined by commas.
    """
    return write_archive(Run(model_folder(run)), out, configuration=configuration, folds=fold_names(folds))


def export_onnx(
    run: Path, out: Path, *, configuration: str | None = None, folds: str | Sequence[str] = "all"
) -> list[OnnxModel]:
    """Writes an ONNX graph a configuration, checked against PyTorch (`inference.onnx.write_onnx`).

    Args:
        run: a run folder or a model file.
        out: the `.onnx` file.
        configuration: a name, or names joined by "+"; None takes the best.
        folds: "all", "all-data" (the model trained on every case), or numbers joined by commas.
    """
    from autoseg.exchange.onnx.writing import write_onnx

    return write_onnx(Run(model_folder(run)), out, configuration=configuration, folds=fold_names(folds))
