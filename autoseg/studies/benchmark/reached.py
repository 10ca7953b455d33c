"""What a run has reached on its validation cases, read from its folder, to be held against a published result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.data.files import read_labels
from autoseg.data.labels import LabelScheme
from autoseg.data.splits import load_splits
from autoseg.errors import WorkspaceError
from autoseg.evaluation.references import read_reference
from autoseg.evaluation.scores import Score, ScoreRows, Scores
from autoseg.metrics.score import score_labels
from autoseg.plan.record import Plan
from autoseg.processes import unordered
from autoseg.run_state import read_metrics
from autoseg.workspace import ALL_DATA, Fold, Run


@dataclass(frozen=True)
class Reached:
    """One configuration of a run on the validation cases of the folds that are trained.

    Attributes:
        configuration: its name.
        planner: that planned it.
        folds: names of the validated folds, in order.
        of_folds: how many folds there are.
        steps: optimiser steps of the training that had the fewest; None if that was not recorded.
        fold_of: case -> fold that validated it.
        scores: case -> label -> metric -> value, None where it does not exist.
    """

    configuration: str
    planner: str
    folds: tuple[str, ...]
    of_folds: int
    steps: int | None
    fold_of: Mapping[str, str]
    scores: Mapping[str, ScoreRows]

    def values(self, metric: str, labels: Sequence[str], fold: str | None = None) -> np.ndarray:
        """(cases, labels) float64 of all folds or of one, NaN where a value does not exist; cases by identifier."""
        rows = [
            [_number(self.scores[case].get(label, {}).get(metric)) for label in labels]
            for case in sorted(self.scores)
            if fold in (None, self.fold_of[case])
        ]
        return np.array(rows, np.float64).reshape(len(rows), len(labels))


def read_reached(
    run: Run, configuration: str, *, tolerances_mm: Mapping[str, float] | None = None, workers: int = 1
) -> Reached:
    """The scores of a configuration's validated folds.

    Args:
        run: with at least one validated fold of the configuration.
        tolerances_mm: label -> tolerance of the normalised surface distance; these labels' NSD is computed anew, as
            validations know one tolerance for all.
        workers: processes, for that.

    Raises:
        WorkspaceError: no fold is validated.
    """
    folds = {
        name: folder
        for name, folder in run.folds(configuration).items()
        if name != ALL_DATA and folder.validation_summary.is_file()
    }
    if not folds:
        raise WorkspaceError(f"no fold of {configuration} is validated", where=run.root, remedy="train one")
    plan, dataset = Plan.load(run.plan), Dataset.load(run.dataset)
    scores: dict[str, ScoreRows] = {}
    fold_of: dict[str, str] = {}
    for name, folder in folds.items():
        cases = Scores.load(folder.validation_summary).cases
        scores |= cases
        fold_of |= dict.fromkeys(cases, name)
    if tolerances_mm:
        predictions = {case: folds[fold_of[case]].validation / f"{case}{plan.file_ending}" for case in scores}
        scores = _with_own_nsd(scores, predictions, dataset, tolerances_mm, workers)
    return Reached(
        configuration=configuration,
        planner=plan.planner,
        folds=tuple(folds),
        of_folds=len(load_splits(run.splits, dataset.identifiers)),
        steps=_fewest_steps(folds.values()),
        fold_of=fold_of,
        scores=scores,
    )


def _fewest_steps(folds: Iterable[Fold]) -> int | None:
    """Steps of the shortest training; None if one of them kept no record."""
    rows = [read_metrics(folder.metrics) for folder in folds]
    return min(int(lines[-1]["step"]) for lines in rows) if all(rows) else None


@dataclass(frozen=True)
class _ScoringJob:
    """A case whose surface distances are scored anew."""

    case: str
    prediction: Path
    reference: Path
    labels: LabelScheme
    tolerances_mm: Mapping[str, float]


def _with_own_nsd(
    scores: Mapping[str, ScoreRows],
    predictions: Mapping[str, Path],
    dataset: Dataset,
    tolerances_mm: Mapping[str, float],
    workers: int,
) -> dict[str, ScoreRows]:
    """The scores with another NSD of the labels that have a tolerance of their own."""
    jobs = [
        _ScoringJob(case.id, predictions[case.id], case.label, dataset.labels, tolerances_mm)
        for case in dataset.training
        if case.id in predictions and case.label is not None
    ]
    changed = dict(scores)
    for case, nsd in unordered(_nsd, jobs, "scoring with the challenge's tolerances", workers=workers):
        own = {label: {**scores[case][label], "nsd": value} for label, value in nsd.items()}
        changed[case] = {**scores[case], **own}
    return changed


def _nsd(job: _ScoringJob) -> tuple[str, dict[str, float | None]]:
    prediction = read_labels(job.prediction)
    reference = read_reference(job.reference, prediction, job.labels)
    scores = {}
    for label, tolerance in job.tolerances_mm.items():
        scored = score_labels(
            job.labels.encode(prediction.array[0]),
            job.labels.encode(reference.array[0]),
            {label: job.labels.training_foreground[label]},
            reference.geometry.spacing,
            dimension=reference.geometry.dimension,
            ignore=job.labels.training_ignore,
            metrics=("nsd",),
            tolerance_mm=tolerance,
        )
        scores[label] = scored[label]["nsd"]
    return job.case, scores


def _number(value: Score) -> float:
    return float("nan") if value is None else float(value)
