"""New images through a trained run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoseg.data.discovery import find_cases
from autoseg.inference.predictor import Predictor
from autoseg.pipeline.choices import names_of


def predict(
    out: Path,
    inputs: Sequence[Path],
    folder: Path,
    *,
    configuration: str | None = None,
    folds: str = "all",
    save_probabilities: bool = False,
    mirroring: bool = True,
    device: str = "auto",
) -> list[str]:
    """Segments images with a run's model; returns a message for each case that could not be predicted."""
    chosen = None if folds == "all" else tuple(names_of(folds))
    predictor = Predictor.load(out, configuration=configuration, folds=chosen, device=device, mirroring=mirroring)
    cases = find_cases(inputs, len(predictor.plan.channels))
    return predictor.predict_files(cases, folder, save_probabilities=save_probabilities)
