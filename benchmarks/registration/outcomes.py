"""What a method made of a pair: scored by the same rules for everybody, and kept so that a run can go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from autoseg.evaluation.scores import Scores
from autoseg.metrics.score import score_labels
from autoseg.records import Record
from autoseg.tasks.registration.quality import deformation
from autoseg.tasks.registration.transforms import Displacement
from autoseg.tasks.registration.warp import warp_labels
from benchmarks.registration.cases import LABELS, PairOfCases, Subject
from benchmarks.registration.peers import Registered

METRICS = ("dice", "hd95")

_KEPT = (*METRICS, "n_pred", "n_ref")


class Outcome(Record):
    """One pair by one method.

    Attributes:
        labels: name -> Dice, HD95 in mm, voxels of the warped and of the fixed label; empty after a failure.
        nonpositive_percent, log_jacobian_std: over the fixed case's own voxels (see `registration.quality`).
        seconds, cpu_seconds: of the fit.
        failure: why there is no result.
    """

    labels: dict[str, dict[str, float | None]] = {}
    nonpositive_percent: float | None = None
    log_jacobian_std: float | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    failure: str | None = None

    @property
    def dice(self) -> float:
        """Mean over the labels; nan after a failure."""
        found = [row["dice"] for row in self.labels.values() if row["dice"] is not None]
        return float(np.mean(found)) if found else float("nan")


class MethodOutcomes(Record):
    """All that is known of a method.

    Attributes:
        made_by: versions of the tool, or how it was asked; "" for our own.
        missing: why it could not be run at all.
        pairs: name of the pair (`PairOfCases.name`) -> outcome.
    """

    made_by: str = ""
    missing: str | None = None
    pairs: dict[str, Outcome] = {}

    def with_pair(self, name: str, outcome: Outcome) -> MethodOutcomes:
        """The same with one more pair."""
        return self.model_copy(update={"pairs": {**self.pairs, name: outcome}})

    def of(self, pairs: list[PairOfCases]) -> dict[str, Outcome]:
        """Those of some pairs that are there."""
        return {pair.name: self.pairs[pair.name] for pair in pairs if pair.name in self.pairs}


def scored(registered: Registered, fixed: Subject, moving: Subject) -> Outcome:
    """Scores a registration on the fixed case's grid; labels are warped to the nearest voxel."""
    transform: Displacement = registered.transform
    warped = warp_labels(moving.labels, transform, fixed.labels.geometry, fixed.labels.shape)
    rows = score_labels(
        warped.array[0],
        fixed.labels.array[0],
        LABELS,
        fixed.labels.geometry.spacing,
        dimension=3,
        metrics=METRICS,
    )
    space = deformation(transform.field, transform.grid, torch.from_numpy(fixed.own))
    return Outcome(
        labels={label: {key: row[key] for key in _KEPT} for label, row in rows.items()},
        nonpositive_percent=space.nonpositive_percent,
        log_jacobian_std=space.log_jacobian_std,
        seconds=registered.seconds,
        cpu_seconds=registered.cpu_seconds,
    )


def table_of(found: dict[str, dict[str, Outcome]]) -> dict[str, Scores]:
    """Method -> what `score_table` takes: scores of the pairs, and the errors."""
    return {
        method: Scores(
            cases={pair: one.labels for pair, one in pairs.items() if one.failure is None},
            errors={pair: one.failure for pair, one in pairs.items() if one.failure is not None},
        )
        for method, pairs in found.items()
    }


def load(folder: Path, method: str) -> MethodOutcomes:
    """What earlier runs left of a method; nothing at first."""
    path = _file(folder, method)
    return MethodOutcomes.load(path) if path.exists() else MethodOutcomes()


def save(folder: Path, method: str, outcomes: MethodOutcomes) -> None:
    """Keeps a method's outcomes."""
    outcomes.save(_file(folder, method))


def _file(folder: Path, method: str) -> Path:
    return folder / f"{method.replace(':', '_').replace('+', '_')}.json"
