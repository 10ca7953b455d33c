"""ONNX graphs as a model format: written by `autoseg export`, never read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from autoseg.inference.formats import ModelFormat


def write(run: Path, out: Path, *, configuration: str | None, folds: Sequence[str] | None) -> Iterator[str]:
    """Writes a graph per configuration, each checked against PyTorch (`write_onnx`).

    Args:
        run: a run folder.
        out: the `.onnx` file; of several configurations each has its name before the ending.
        configuration: a name, or names joined by "+"; None takes the best of the run.
        folds: names; None takes all numbered ones that are trained, else the model of all data.
    """
    from autoseg.exchange.onnx.writing import write_onnx
    from autoseg.workspace import Run

    for model in write_onnx(Run(run), out, configuration=configuration, folds=folds):
        yield f"model: {model.path}, {_megabytes(model.path)}, described in {model.description.name}"
        yield f"  {model.configuration}: mean of fold {', '.join(model.folds)}"
        yield (
            f"  against PyTorch: largest difference {model.check.largest_difference:.1e} of the logits' range, "
            f"{100 * model.check.equal_labels:.3f} % equal labels"
        )


def _megabytes(path: Path) -> str:
    """The size of a graph and of the weights beside it."""
    beside = path.with_name(f"{path.name}.data")
    size = path.stat().st_size + (beside.stat().st_size if beside.exists() else 0)
    return f"{size / 1e6:.1f} MB"


ONNX = ModelFormat(description="for other software", write=write)
