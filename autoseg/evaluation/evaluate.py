"""Scores of predicted label files against references: two folders in, one summary out."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from autoseg.data.annotation_table import Annotated
from autoseg.data.dataset import Reading
from autoseg.data.description import discovered_labels
from autoseg.data.files import read_labels
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError, ConfigurationError, ErrorGroup, ImageError
from autoseg.evaluation.matching import check_geometry, match
from autoseg.evaluation.odd_values import OddValue, Overlap, describe_odd_values, odd_values
from autoseg.evaluation.references import read_reference
from autoseg.evaluation.scheme import read_looked_for, read_scheme, scheme_of_values
from autoseg.evaluation.scores import ScoreRows, Scores, summarise
from autoseg.evaluation.value_map import ValueMap, mapped_values, only_values
from autoseg.log import counted
from autoseg.metrics.confusion import comparable, confusion
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

LabelsGiven = str | Path | LabelScheme | Sequence[int]
"""What says which label values are scored: a dataset.json, a scheme, or the values themselves."""


def evaluate(
    predictions: str | Path | Iterable[str | Path],
    references: str | Path | Iterable[str | Path],
    *,
    spec: LabelsGiven | None = None,
    out: str | Path | None = None,
    workers: int | None = None,
    metrics: Iterable[str] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    value_map: ValueMap | Mapping[int, int] | None = None,
) -> Scores:
    """Compares predictions with references of the same file name (whatever their endings).

    Distances and volumes are in the files' own spacing; in pictures, which have none, a millimetre is a pixel.

    Args:
        predictions, references: a folder each, or lists of files.
        spec: what the label values mean: a dataset.json (Medical Segmentation Decathlon, nnU-Net or a run's), a
            scheme, or the values that are labels (`[1, 2]`), beside which all others are background. Without it every
            non-zero value is a label, named by itself, unless it hardly occurs (`odd_values.odd_values` has the rule);
            the result says which were left out. Where a dataset.json says which classes were looked for in a case, the
            others are not scored there.
        out: JSON file to write the result to; `Scores.load` reads it.
        workers: processes for large data; one for each available core by default.
        metrics: names from `metrics.table.METRICS`; all of them by default.
        tolerance_mm: tolerance of the normalised surface distance.
        value_map: what values are taken for; a plain mapping is that of the references.

    Returns:
        The scores of all pairs, with the message of each that cannot be compared, the files without a partner, and
        the values that are on one side alone or not scored.

    Raises:
        ConfigurationError: no pair of files has a common name, two files of one folder have the same, or `spec` or a
            metric is wrong.
        ErrorGroup: not a single pair can be compared.
    """
    chosen = tuple(metric.name for metric in select(metrics))
    pairs = match(predictions, references)
    _name_the_unmatched(pairs.missing, "reference", "prediction")
    _name_the_unmatched(pairs.extra, "prediction", "reference")
    labels, annotated = _meaning(spec)
    mapped = value_map if isinstance(value_map, ValueMap) else ValueMap(references=dict(value_map or {}))
    listed = spec is not None and not isinstance(spec, (str, Path, LabelScheme))
    rules = _Rules(labels, chosen, tolerance_mm, annotated, mapped, others="background" if listed else "error")
    cases, errors, odd = _scored(pairs.pairs, rules, workers)
    for text in describe_odd_values(odd):
        logger.warning("warning: %s", text)
    scores = summarise(
        cases, errors=errors, missing_predictions=pairs.missing, extra_predictions=pairs.extra, odd_values=odd
    )
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
    reading: Reading | None = None,
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
        reading: how references are read where they leave a choice.

    Returns:
        The scores of all pairs, with the message of each that cannot be compared. No pairs give no scores.

    Raises:
        ErrorGroup: not a single pair can be compared.
    """
    chosen = tuple(metric.name for metric in select(metrics))
    rules = _Rules(labels, chosen, tolerance_mm, annotated or {}, compares_values=labels is None, reading=reading)
    cases, errors, odd = _scored(pairs, rules, workers)
    return summarise(cases, errors=errors, odd_values=odd)


@dataclass(frozen=True)
class _Rules:
    """How all pairs are scored.

    Attributes:
        labels: what values mean; None finds them.
        metrics: names.
        tolerance_mm: of the surface Dice.
        annotated: case -> classes that were looked for, where not all were.
        value_map: what values are taken for before.
        others: what values beyond the labels are: an error of their case, or background.
        compares_values: whether the values themselves are looked at; not needed where the labels are a data set's own.
        reading: how references are read where they leave a choice.
    """

    labels: LabelScheme | None
    metrics: tuple[str, ...]
    tolerance_mm: float
    annotated: Mapping[str, Collection[str]]
    value_map: ValueMap = field(default_factory=ValueMap)
    others: Literal["error", "background"] = "error"
    compares_values: bool = True
    reading: Reading | None = None


def _meaning(spec: LabelsGiven | None) -> tuple[LabelScheme | None, Annotated]:
    """The labels, and case -> classes that were looked for, where not all were."""
    if spec is None or isinstance(spec, LabelScheme):
        return spec, {}
    if not isinstance(spec, (str, Path)):
        return discovered_labels({int(value) for value in spec}), {}
    labels = read_scheme(spec)
    return labels, read_looked_for(spec, labels)


def _scored(
    pairs: Mapping[str, FilePair], rules: _Rules, workers: int | None
) -> tuple[dict[str, ScoreRows], dict[str, str], tuple[OddValue, ...]]:
    """Scores of the cases that can be compared, one at least, the messages of the others, and the odd values."""
    jobs = {case: _PairJob(*pair, rules) for case, pair in pairs.items()}
    scores: dict[str, ScoreRows] = {}
    overlaps: dict[str, Overlap] = {}
    errors: dict[str, AutosegError] = {}
    count = usable_cores() if workers is None else workers
    for case, result in unordered(_score, jobs.items(), "evaluate", workers=count, patience=PATIENCE):
        if isinstance(result, AutosegError):
            errors[case] = result
            logger.error("%s cannot be evaluated: %s", case, result)
        else:
            scores[case], overlaps[case] = result
    if errors and not scores:
        raise ErrorGroup("no case can be evaluated", [errors[case] for case in sorted(errors)])
    odd = odd_values(overlaps, None if rules.labels is None else rules.labels.values)
    if rules.labels is None:
        scores = _completed(scores, {str(one.value) for one in odd if not one.scored})
    return scores, {case: str(error) for case, error in errors.items()}, odd


@dataclass(frozen=True)
class _PairJob:
    """One comparison, with everything a process needs."""

    prediction: Path
    reference: Path
    rules: _Rules


def _score(item: tuple[str, _PairJob]) -> tuple[str, tuple[ScoreRows, Overlap] | AutosegError]:
    case, job = item
    rules = job.rules
    try:
        prediction = read_labels(job.prediction, scheme=rules.labels)
        reference = read_reference(job.reference, prediction, rules.labels, rules.reading)
        check_geometry(prediction, reference, job.prediction)
        values = (
            mapped_values(prediction.array[0], rules.value_map.predictions),
            mapped_values(reference.array[0], rules.value_map.references),
        )
        found = scheme_of_values(*values, negative=rules.labels is not None) if rules.compares_values else None
        labels = rules.labels or found or scheme_of_values(*values)
        looked_for = rules.annotated.get(case, labels.foreground)
        overlap = {} if found is None else _overlap(*values, found, labels, looked_for)
        if rules.others == "background":
            values = only_values(values[0], labels.values), only_values(values[1], labels.values)
        scored = {name: codes for name, codes in labels.training_foreground.items() if name in looked_for}
        scores = score_labels(
            _encode(values[0], labels, job.prediction),
            _encode(values[1], labels, job.reference),
            {**scored, **({} if rules.labels else {_ABSENT: (len(labels.values),)})},
            reference.geometry.spacing,
            dimension=reference.geometry.dimension,
            ignore=labels.training_ignore,
            metrics=rules.metrics,
            tolerance_mm=rules.tolerance_mm,
        )
    except AutosegError as error:
        return case, error
    return case, (scores, overlap)


def _completed(scores: Mapping[str, ScoreRows], left_out: Set[str]) -> dict[str, ScoreRows]:
    """Every case with a row of each label that any of them has, in the order of the values that are their names."""
    names = sorted({name for rows in scores.values() for name in rows} - {_ABSENT} - left_out, key=int)
    return {case: {name: rows.get(name, rows[_ABSENT]) for name in names} for case, rows in scores.items()}


def _overlap(
    prediction: np.ndarray,
    reference: np.ndarray,
    found: LabelScheme,
    labels: LabelScheme,
    looked_for: Collection[str],
) -> Overlap:
    """Voxels of each pair of values, without those that the reference ignores and classes that were not looked for.

    Args:
        prediction, reference: file values.
        found: scheme of all that occur.
        labels: which values are labels.
        looked_for: their names.
    """
    values = found.values
    code = values.index(labels.ignore) if labels.ignore in values else None
    matrix = confusion(*comparable(found.encode(prediction), found.encode(reference), code)).matrix
    asked = {value for name in looked_for for value in labels.foreground[name]}
    passed = {value for own in labels.foreground.values() for value in own} - asked
    overlap: dict[tuple[int, int], int] = {}
    for row, column in np.argwhere(matrix).tolist():
        pair = 0 if values[row] in passed else values[row], values[column]
        overlap[pair] = overlap.get(pair, 0) + int(matrix[row, column])
    return overlap


def _encode(labels: np.ndarray, scheme: LabelScheme, path: Path) -> np.ndarray:
    try:
        return scheme.encode(labels)
    except ConfigurationError as error:
        raise ImageError(error.subject, where=path, got=error.got, expected=error.expected) from None


def _name_the_unmatched(names: tuple[str, ...], noun: str, lack: str) -> None:
    if names:
        shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        logger.warning("%s without a %s: %s", counted(len(names), noun), lack, shown)
