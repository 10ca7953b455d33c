"""What is done of a run: the one place where that is derived from its files.

Resuming, the report, the choice of a model and a scheduler ask here, so that they cannot come to different answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autoseg.records import Record
from autoseg.workspace import ALL_DATA, Fold, Run

Standing = Literal["waiting", "started", "trained", "finished"]
"""How far a fold is: nothing, begun, with final weights, or with scores of its validation too."""

MetricsRow = dict[str, Any]
"""One round of a training, as a line of metrics.jsonl has it."""


class TrainingStatus(Record):
    """The latest training of a fold; the fold's `training.json`.

    Attributes:
        finished: whether the final weights are those of this training. While it runs, those of the training before
            stay and are predicted with.
    """

    finished: bool


@dataclass(frozen=True)
class FoldState:
    """How far one fold of one configuration is.

    Attributes:
        has_model: there are final weights to predict with, of the latest training or of one before it.
        begun: a training of it was begun, whatever came of it.
        resumable: there is a checkpoint of the latest training to go on from.
        trained: the final weights are those of the latest training.
        validated: the validation cases are predicted with them and scored.
        feeds: labels of the validation cases for the second network of a cascade are there.
        progress: share of the latest training that is done.
        remaining: seconds to its end, as estimated when it stopped; None where that is not known.
    """

    has_model: bool = False
    begun: bool = False
    resumable: bool = False
    trained: bool = False
    validated: bool = False
    feeds: bool = False
    progress: float = 0.0
    remaining: float | None = None

    def standing(self, *, validates: bool = True, feeds: bool = False) -> Standing:
        """How far the fold is.

        Args:
            validates: whether it has validation cases.
            feeds: whether the second network of a cascade needs its labels.
        """
        if not self.trained:
            return "started" if self.progress > 0 else "waiting"
        scored = self.validated and (self.feeds or not feeds)
        return "finished" if scored or not validates else "trained"


@dataclass(frozen=True)
class RunState:
    """How far a run is.

    Attributes:
        has_data: the data set is known (dataset.json).
        fingerprinted, planned, split: fingerprint.json, plan.json, splits.json are there.
        summarised, reported: summary.json, report.html are there.
        folds: (configuration, fold) -> its state, for every fold that has a folder.
    """

    has_data: bool
    fingerprinted: bool
    planned: bool
    split: bool
    summarised: bool
    reported: bool
    folds: Mapping[tuple[str, str], FoldState]

    @classmethod
    def read(cls, run: Run) -> RunState:
        """The state of a run folder; one that does not exist has nothing done."""
        names = sorted({folder.parent.name for folder in run.root.glob("*/fold_*") if folder.is_dir()})
        return cls(
            has_data=run.dataset.exists(),
            fingerprinted=run.fingerprint.exists(),
            planned=run.plan.exists(),
            split=run.splits.exists(),
            summarised=run.summary.exists(),
            reported=run.report.exists(),
            folds={(name, fold): fold_state(folder) for name in names for fold, folder in run.folds(name).items()},
        )

    @property
    def is_run(self) -> bool:
        """Whether the folder is one: more is there than a dataset.json, which data sets have too."""
        return self.fingerprinted or self.planned or self.summarised or bool(self.folds)

    def fold(self, configuration: str, fold: str) -> FoldState:
        """The state of one fold; that of a fold without a folder has nothing done."""
        return self.folds.get((configuration, fold), FoldState())

    def models(self, configuration: str) -> tuple[str, ...]:
        """Folds of a configuration that there are weights of to predict with."""
        return tuple(fold for (name, fold), state in self.folds.items() if name == configuration and state.has_model)

    def validated(self, configuration: str) -> tuple[str, ...]:
        """Folds of a configuration whose model is validated; a model of all data has no cases for that."""
        return tuple(
            fold
            for (name, fold), state in self.folds.items()
            if name == configuration and state.validated and fold != ALL_DATA
        )


def fold_state(folder: Fold) -> FoldState:
    """How far a fold is, from its files."""
    has_model, validated = _has_content(folder.final), folder.validation_summary.exists()
    # Folds of version 0.1 have no status: their final weights are the latest. Where somebody removed weights to save
    # space, the validation shows that there were some.
    latest = not folder.status.exists() or TrainingStatus.load(folder.status).finished
    trained = latest and (has_model or validated)
    progress, remaining = (1.0, 0.0) if trained else _progress(folder)
    return FoldState(
        has_model=has_model,
        begun=any(path.exists() for path in (folder.status, folder.last, folder.metrics, folder.final)),
        resumable=folder.last.exists(),
        trained=trained,
        validated=validated,
        feeds=folder.next_stage.is_dir(),
        progress=progress,
        remaining=remaining,
    )


def begin_training(folder: Fold) -> None:
    """Notes that a training of a fold begins anew; what there was of one that is not finished goes.

    Final weights of a training before, and their validation, stay until this one is finished.
    """
    folder.root.mkdir(parents=True, exist_ok=True)
    TrainingStatus(finished=False).save(folder.status)
    for path in (folder.last, folder.best):
        path.unlink(missing_ok=True)


def withdraw_validation(folder: Fold) -> None:
    """Takes back the scores of a fold whose final weights are about to be replaced: they are of other weights."""
    folder.validation_summary.unlink(missing_ok=True)


def finish_training(folder: Fold) -> None:
    """Notes that the final weights are those of the latest training."""
    TrainingStatus(finished=True).save(folder.status)


def read_metrics(path: str | Path) -> list[MetricsRow]:
    """The rows of a metrics.jsonl, one per round of training, in the order of steps.

    A line cut short (the process was killed while writing) is passed over; when a resumed training wrote a
    step a second time, the later row counts. A file that is missing or empty gives an empty list.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    rows: dict[int, MetricsRow] = {}
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows[row["step"]] = row
    return [rows[step] for step in sorted(rows)]


def _has_content(path: Path) -> bool:
    """Whether a file is there and not empty, as one is that was begun on a full disk."""
    return path.is_file() and path.stat().st_size > 0


def _progress(folder: Fold) -> tuple[float, float | None]:
    """Share of an unfinished training that is done, and the seconds left."""
    rows = read_metrics(folder.metrics) if folder.last.exists() else []
    if not rows:
        return 0.0, None
    spent, left = float(rows[-1].get("seconds") or 0), float(rows[-1].get("remaining") or 0)
    return (spent / (spent + left) if spent + left else 0.0), left
