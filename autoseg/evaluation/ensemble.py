"""Ensembles of validated configurations: their saved probabilities averaged, and scored as a fold is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.data.files import write_labels
from autoseg.data.labels import LabelScheme
from autoseg.errors import WorkspaceError
from autoseg.evaluation.candidate import Candidate, count_networks
from autoseg.evaluation.scores import Scores
from autoseg.evaluation.validation import score_validation
from autoseg.inference.probabilities import CERTAIN, SavedProbabilities
from autoseg.inference.reduction import paint
from autoseg.inference.uncertainty import ExpectedDice
from autoseg.plan.record import Plan
from autoseg.preprocessing.undo import restore_labels
from autoseg.processes import unordered, usable_cores
from autoseg.records import write_json
from autoseg.workspace import Fold, Run

_SLAB_BYTES = 2**24
"""Saved bytes of one configuration that are averaged at once."""

_PATIENCE = 2.0
"""Seconds of averaging in this process before others are started, which costs about as much."""


def validated_ensemble(
    run: Run, dataset: Dataset, plan: Plan, members: Sequence[Candidate], *, workers: int | None = None
) -> Candidate:
    """The ensemble of some configurations on the cases that all of them were validated on.

    Each case is averaged from networks that did not see it. The result lies in the run's `ensembles` folder and is
    kept as long as it is not older than what it was made from.

    Args:
        members: configurations validated on the same cases, with saved probabilities.
        workers: processes; None takes one per usable core.

    Raises:
        WorkspaceError: a file of probabilities is missing or damaged, or two of a case do not fit together.
    """
    names = tuple(name for member in members for name in member.configurations)
    folder, cases = run.ensemble(names), sorted(members[0].cases)
    sources = {case: tuple(member.probabilities(case) for member in members) for case in cases}
    if not _is_fresh(folder, sources, members):
        _make(folder, dataset, plan, sources, "+".join(names), usable_cores() if workers is None else workers)
    first = members[0]
    return Candidate(
        configurations=names,
        networks=count_networks(run, plan, names),
        scores=Scores.load(folder.validation_summary).cases,
        fold_of=first.fold_of,
        folders=dict.fromkeys(first.folders, folder),
        ending=plan.file_ending,
    )


def _is_fresh(folder: Fold, sources: dict[str, tuple[Path, ...]], members: Sequence[Candidate]) -> bool:
    """Whether the ensemble is of these cases and made after its members were validated."""
    if not folder.validation_summary.exists():
        return False
    if set(Scores.load(folder.validation_summary).cases) != set(sources):
        return False
    made_from = [path for paths in sources.values() for path in paths]
    made_from += [fold.validation_summary for member in members for fold in member.folders.values()]
    written = folder.validation_summary.stat().st_mtime_ns
    return all(path.exists() and path.stat().st_mtime_ns <= written for path in made_from)


def _make(
    folder: Fold, dataset: Dataset, plan: Plan, sources: dict[str, tuple[Path, ...]], name: str, workers: int
) -> None:
    """Writes the label files, then their expected Dice and last the summary, whose presence says that all is whole."""
    folder.validation_summary.unlink(missing_ok=True)
    targets = {case: folder.validation / f"{case}{plan.file_ending}" for case in sources}
    for stale in set(folder.validation.glob(f"*{plan.file_ending}")) - set(targets.values()):
        stale.unlink()
    jobs = [_EnsembleJob(case, paths, targets[case], plan.labels) for case, paths in sources.items()]
    results = unordered(_average, jobs, f"ensemble {name}", workers=workers, patience=_PATIENCE)
    expected = dict(results)
    write_json(folder.expected_dice, {case: expected[case] for case in sources})
    score_validation(folder, dataset, targets, name, workers=workers)


@dataclass(frozen=True)
class _EnsembleJob:
    """One case, with everything a process needs."""

    case: str
    sources: tuple[Path, ...]
    target: Path
    scheme: LabelScheme


def _average(job: _EnsembleJob) -> tuple[str, dict[str, float | None]]:
    """Writes the labels of the mean probabilities of a case, slab by slab; gives its expected Dice."""
    files = [SavedProbabilities.open(path) for path in job.sources]
    first = files[0]
    for other, path in zip(files[1:], job.sources[1:], strict=True):
        if (other.outputs, other.properties.crop_box) != (first.outputs, first.properties.crop_box):
            raise WorkspaceError(
                "the saved probabilities of two configurations are not of the same voxels",
                where=job.case,
                got=f"{path}: {other.outputs} outputs, {other.properties.crop_box}",
                expected=f"{job.sources[0]}: {first.outputs} outputs, {first.properties.crop_box}",
                remedy="remove both files; they are made again",
            )
    scheme, expected = job.scheme, ExpectedDice(job.scheme)
    labels = np.empty(first.shape, dtype=np.int16)
    z, y, x = first.shape
    height = max(1, _SLAB_BYTES // (first.outputs * y * x))
    for start in range(0, z, height):
        rows = slice(start, min(start + height, z))
        total = sum((file.rows(rows).astype(np.uint16) for file in files[1:]), start=first.rows(rows).astype(np.uint16))
        highest = CERTAIN * len(files)
        labels[rows] = paint(total, scheme, highest / 2) if scheme.regions else total.argmax(axis=0)
        expected.add(total / np.float32(highest), labels[rows])
    write_labels(job.target, restore_labels(scheme.decode(labels), first.properties), first.properties.geometry)
    return job.case, expected.result()
