"""Scores of predicted label files against references: two folders in, one summary out."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.annotation_table import Annotated
from autoseg.data.files import read_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError, ConfigurationError, ErrorGroup, ImageError
from autoseg.evaluation.matching import check_geometry, match
from autoseg.evaluation.scheme import read_looked_for, read_scheme, scheme_of_values
from autoseg.evaluation.scores import ScoreRows, Scores, summarise
from autoseg.log import counted
from autoseg.metrics.score import score_labels
from autoseg.metrics.surface import TOLERANCE_MM
from autoseg.metrics.table import select
from autoseg.processes import unordered, usable_cores

logger = logging.getLogger(__name__)

PATIENCE = 0.5
"""Seconds of scoring in this process before others are started, which costs about as much."""

_ABSENT = ""
"""Row of a label that a case has in neither file, where the labels are not known before."""

FilePair = tuple[Path, Path]
"""A prediction's file and its reference's."""


def evaluate(
    predictions: str | Path | Iterable[str | Path],
    references: str | Path | Iterable[str | Path],
    *,
    spec: str | Path | LabelScheme | None = None,
    out: str | Path | None = None,
    workers: int | None = None,
    metrics: Iterable[str] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
) -> Scores:
    """Compares predictions with references of the same file name (whatever their endings).

    Distances and volumes are in the files' own spacing; in pictures, which have none, a millimetre is a pixel.

    Args:
        predictions, references: a folder each, or lists of files.
        spec: what the label values mean: a dataset.json (Medical Segmentation Decathlon, nnU-Net or a run's) or a
            scheme. Without it every non-zero value found in any file is a label, named by its value. Where a
            dataset.json says which classes were looked for in a case, the others are not scored there.
        out: JSON file to write the result to; `Scores.load` reads it.
        workers: processes for large data; one for each available core by default.
        metrics: names from `metrics.table.METRICS`; all of them by default.
        tolerance_mm: tolerance of the normalised surface distance.

    Returns:
        The scores of all pairs, with the message of each that cannot be compared, and the files without a partner.

    Raises:
        ConfigurationError: no pair of files has a common name, two files of one folder have the same, or `spec` or a
            metric is wrong.
        ErrorGroup: not a single pair can be compared.
    """
    metrics = [metric.name for metric in select(metrics)]
    pairs = match(predictions, references)
    _name_the_unmatched(pairs.missing, "reference", "prediction")
    _name_the_unmatched(pairs.extra, "prediction", "reference")
    labels, annotated = _meaning(spec)
    cases, errors = _scored(pairs.pairs, labels, metrics, tolerance_mm, workers, annotated)
    scores = summarise(cases, errors=errors, missing_predictions=pairs.missing, extra_predictions=pairs.extra)
    if out is not None:
        scores.save(out)
    return scores


def evaluate_files(
    pairs: Mapping[str, FilePair],
    labels: LabelScheme | None,
    *,
    metrics: Iterable[str] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    workers: int | None = None,
    annotated: Mapping[str, Collection[str]] | None = None,
) -> Scores:
    """Scores pairs of files (case -> prediction, reference) that hold file values of one scheme.

    Each file is read once, also where the labels are None, which means all non-zero values that any of them holds.

    Args:
        pairs: case -> its files.
        labels: how file values are meant; None as said.
        metrics: names; None takes all.
        tolerance_mm: of the surface Dice.
        workers: processes; None takes one per usable core.
        annotated: case -> classes that were looked for, where not all were: others have no row of scores there.

    Returns:
        The scores of all pairs, with the message of each that cannot be compared. No pairs give no scores.

    Raises:
        ErrorGroup: not a single pair can be compared.
    """
    chosen = [metric.name for metric in select(metrics)]
    cases, errors = _scored(pairs, labels, chosen, tolerance_mm, workers, annotated or {})
    return summarise(cases, errors=errors)


def _meaning(spec: str | Path | LabelScheme | None) -> tuple[LabelScheme | None, Annotated]:
    """The labels, and case -> classes that were looked for, where not all were."""
    if spec is None or isinstance(spec, LabelScheme):
        return spec, {}
    labels = read_scheme(spec)
    return labels, read_looked_for(spec, labels)


def _scored(
    pairs: Mapping[str, FilePair],
    labels: LabelScheme | None,
    metrics: Iterable[str],
    tolerance_mm: float,
    workers: int | None,
    annotated: Mapping[str, Collection[str]],
) -> tuple[dict[str, ScoreRows], dict[str, str]]:
    """Scores of the cases that can be compared, and the messages of the others; one at least can be."""
    names = tuple(metrics)
    jobs = {case: _PairJob(*pair, labels, names, tolerance_mm, annotated.get(case)) for case, pair in pairs.items()}
    scores: dict[str, ScoreRows] = {}
    errors: dict[str, AutosegError] = {}
    count = usable_cores() if workers is None else workers
    for case, result in unordered(_score, jobs.items(), "evaluate", workers=count, patience=PATIENCE):
        if isinstance(result, AutosegError):
            errors[case] = result
            logger.error("%s cannot be evaluated: %s", case, result)
        else:
            scores[case] = result
    if errors and not scores:
        raise ErrorGroup("no case can be evaluated", [errors[case] for case in sorted(errors)])
    if labels is None:
        scores = _completed(scores)
    return scores, {case: str(error) for case, error in errors.items()}


@dataclass(frozen=True)
class _PairJob:
    """One comparison, with everything a process needs."""

    prediction: Path
    reference: Path
    labels: LabelScheme | None
    metrics: tuple[str, ...]
    tolerance_mm: float
    annotated: Collection[str] | None


def _score(item: tuple[str, _PairJob]) -> tuple[str, ScoreRows | AutosegError]:
    case, job = item
    try:
        prediction, reference = read_labels(job.prediction), read_labels(job.reference)
        check_geometry(prediction, reference, job.prediction)
        labels = job.labels or scheme_of_values(prediction.array, reference.array)
        absent = {} if job.labels else {_ABSENT: (len(labels.values),)}
        looked_for = {
            name: values
            for name, values in labels.training_foreground.items()
            if job.annotated is None or name in job.annotated
        }
        scores = score_labels(
            _encode(prediction, labels, job.prediction),
            _encode(reference, labels, job.reference),
            {**looked_for, **absent},
            reference.geometry.spacing,
            dimension=reference.geometry.dimension,
            ignore=labels.training_ignore,
            metrics=job.metrics,
            tolerance_mm=job.tolerance_mm,
        )
    except AutosegError as error:
        return case, error
    return case, scores


def _completed(scores: Mapping[str, ScoreRows]) -> dict[str, ScoreRows]:
    """Every case with a row of each label that any of them has, in the order of the values that are their names."""
    names = sorted({name for rows in scores.values() for name in rows} - {_ABSENT}, key=int)
    return {case: {name: rows.get(name, rows[_ABSENT]) for name in names} for case, rows in scores.items()}


def _encode(image: Image, labels: LabelScheme, path: Path) -> np.ndarray:
    try:
        return labels.encode(image.array[0])
    except ConfigurationError as error:
        raise ImageError(error.subject, where=path, got=error.got, expected=error.expected) from None


def _name_the_unmatched(names: tuple[str, ...], noun: str, lack: str) -> None:
    if names:
        shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        logger.warning("%s without a %s: %s", counted(len(names), noun), lack, shown)
