"""Scores of a validation folder's predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Dataset
from autoseg.errors import ErrorGroup, ImageError
from autoseg.evaluation.evaluate import evaluate_files
from autoseg.processes import usable_cores
from autoseg.records import write_json
from autoseg.workspace import Fold


def score_validation(
    folder: Fold, dataset: Dataset, predictions: Mapping[str, Path], title: str, *, workers: int | None = None
) -> dict[str, Any]:
    """Compares predictions with the data set's labels and writes the folder's validation/summary.json.

    Args:
        folder: of a fold or an ensemble.
        predictions: identifier -> label file.
        title: names the folder in messages.
        workers: processes; None takes one a usable core.

    Returns:
        The content of the summary.

    Raises:
        ErrorGroup: cases cannot be scored; all of them are named.
    """
    pairs = {
        case.id: (predictions[case.id], case.label)
        for case in dataset.training
        if case.id in predictions and case.label is not None
    }
    scores = evaluate_files(pairs, dataset.labels, workers=usable_cores() if workers is None else workers)
    if scores["errors"]:
        raise ErrorGroup(
            f"{title}: validation cases cannot be scored",
            [ImageError(message, where=case) for case, message in scores["errors"].items()],
        )
    write_json(folder.validation_summary, scores)
    return scores
