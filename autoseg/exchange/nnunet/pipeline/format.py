"""Folders of nnU-Net v2 as a model format: written by `autoseg export`; `autoseg import-nnunet` brings them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from autoseg.inference.formats import ModelFormat


def write(run: Path, out: Path, *, configuration: str | None, folds: Sequence[str] | None) -> Iterator[str]:
    """Makes a folder that nnU-Net v2 predicts with (`export_nnunet`).

    Args:
        run: a run folder.
        out: the folder to make.
        configuration: a name, or names joined by "+"; None takes the best of the run.
        folds: names; None takes all numbered ones that are trained, else the model of all data.
    """
    from autoseg.exchange.nnunet.pipeline.models import export_nnunet

    written = export_nnunet(run, out, configuration=configuration, folds=folds)
    for model in written.models:
        yield f"model: {model.folder}"
        yield f"  {model.configuration}: fold {', '.join(model.folds)}"
        yield (
            f"use it with: nnUNetv2_predict_from_modelfolder -i IMAGES -o DIR -m {model.folder} "
            f"-f {' '.join(model.folds)}"
        )
    for note in written.notes:
        yield f"note: {note}"


NNUNET = ModelFormat(description="for nnU-Net v2", write=write, makes_folder=True)
