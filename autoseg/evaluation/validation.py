"""Scores of a validation folder's predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autoseg.data.annotation_table import annotated_of_cases
from autoseg.data.dataset import Dataset
from autoseg.errors import ErrorGroup, ImageError
from autoseg.evaluation.evaluate import evaluate_files
from autoseg.evaluation.scores import ScoreRows, Scores, summarise
from autoseg.processes import usable_cores
from autoseg.workspace import Fold


def score_validation(
    folder: Fold,
    dataset: Dataset,
    predictions: Mapping[str, Path],
    title: str,
    *,
    beside: Mapping[str, ScoreRows] | None = None,
    workers: int | None = None,
) -> Scores:
    """Compares predictions with the data set's labels and writes the folder's validation/summary.json.

    A case counts for the classes that were looked for in it.

    Args:
        folder: of a fold or an ensemble.
        predictions: identifier -> label file.
        title: names the folder in messages.
        beside: identifier -> row -> metric -> value, scores that the trainer measured itself; they join the others.
        workers: processes; None takes one per usable core.

    Raises:
        ErrorGroup: cases cannot be scored; all of them are named.
    """
    pairs = {
        case.id: (predictions[case.id], case.label)
        for case in dataset.training
        if case.id in predictions and case.label is not None
    }
    annotated = annotated_of_cases(dataset.training)
    count = usable_cores() if workers is None else workers
    scores = evaluate_files(pairs, dataset.labels, workers=count, annotated=annotated, reading=dataset.reading)
    if scores.errors:
        raise ErrorGroup(
            f"{title}: validation cases cannot be scored",
            [ImageError(message, where=case) for case, message in scores.errors.items()],
        )
    if beside:
        scores = summarise(_joined(scores.cases, beside))
    scores.save(folder.validation_summary)
    return scores


def _joined(first: Mapping[str, ScoreRows], second: Mapping[str, ScoreRows]) -> dict[str, ScoreRows]:
    """Both mappings in one, down to the metrics."""
    joined: dict[str, ScoreRows] = {}
    for case in {**first, **second}:
        rows = {**first.get(case, {}), **second.get(case, {})}
        joined[case] = {row: {**first.get(case, {}).get(row, {}), **second.get(case, {}).get(row, {})} for row in rows}
    return joined
