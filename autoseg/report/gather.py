"""Everything a run folder holds for its report, read leniently: what is missing is None, never an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.errors import AutosegError
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.record import Plan
from autoseg.postprocessing.choose import Decision
from autoseg.records import read_mapping
from autoseg.training.curves import Row, read_metrics
from autoseg.workspace import Fold, Run

Scores = dict[str, dict[str, float | None]]
"""Scores of one case: label -> metric -> value; None where the metric is not defined."""

Content = TypeVar("Content")


@dataclass(frozen=True)
class CaseScores:
    """One validation case of one configuration."""

    id: str
    fold: str
    scores: Scores

    @property
    def foreground_dice(self) -> float | None:
        """Mean Dice over the labels where it is defined; None if it is for none."""
        values = [metrics.get("dice") for metrics in self.scores.values()]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None


@dataclass(frozen=True)
class FoldRecords:
    """One fold: the rows of its training, and its validation cases (None before the validation)."""

    folder: Fold
    metrics: list[Row]
    cases: tuple[CaseScores, ...] | None


@dataclass(frozen=True)
class RunRecords:
    """The contents of a run folder; what a run has not reached yet is None or empty.

    Attributes:
        folds: configuration -> fold name -> records, for the folds that have a folder.
        problems: files that exist and cannot be read, in words.
    """

    run: Run
    dataset: Dataset | None
    fingerprint: Fingerprint | None
    plan: Plan | None
    summary: dict[str, Any] | None
    postprocessing: Decision | None
    provenance: dict[str, Any] | None
    folds: dict[str, dict[str, FoldRecords]]
    problems: tuple[str, ...]

    @cached_property
    def name(self) -> str:
        """Name of the data set, else of the run folder."""
        for record in (self.dataset, self.fingerprint):
            if record is not None:
                return record.name
        return self.plan.dataset if self.plan is not None else self.run.root.resolve().name

    @cached_property
    def evaluated(self) -> dict[str, tuple[CaseScores, ...]]:
        """Configuration -> its validation cases of all folds, for those that have any."""
        pooled = {
            name: tuple(case for fold in folds.values() for case in fold.cases or ())
            for name, folds in self.folds.items()
        }
        return {name: cases for name, cases in pooled.items() if cases}

    @cached_property
    def chosen(self) -> tuple[str, ...]:
        """Names of the configurations that the run chose, several for an ensemble.

        Before the choice is made: the evaluated configuration with the best mean foreground Dice.
        """
        best = (self.summary or {}).get("best") or {}
        names = best.get("configurations") or best.get("configuration")
        if names:
            return (names,) if isinstance(names, str) else tuple(names)
        ranked = sorted(self.evaluated, key=lambda name: -(mean_foreground_dice(self.evaluated[name]) or 0.0))
        return tuple(ranked[:1])


def mean_foreground_dice(cases: Sequence[CaseScores]) -> float | None:
    """Mean over the labels of each label's mean over the cases, as a summary has it; None if no Dice is defined."""
    labels = dict.fromkeys(label for case in cases for label in case.scores)
    columns = [[case.scores.get(label, {}).get("dice") for case in cases] for label in labels]
    means = [np.mean(known) for column in columns if (known := [value for value in column if value is not None])]
    return float(np.mean(means)) if means else None


def gather(run: Run) -> RunRecords:
    """Reads the files of a run. Missing files are no problem; unreadable ones are told in `problems`."""
    problems: list[str] = []

    def read(path: Path, reader: Callable[[Path], Content]) -> Content | None:
        if not path.exists():
            return None
        try:
            return reader(path)
        except AutosegError as error:
            problems.append(str(error))
            return None

    plan = read(run.plan, Plan.load)
    summary = read(run.summary, read_mapping)
    names = list(plan.configurations) if plan is not None else []
    names += [folder.parent.name for folder in sorted(run.root.glob("*/fold_*")) if folder.is_dir()]
    folds = {
        name: {fold: _fold(fold, folder, read) for fold, folder in run.folds(name).items()}
        for name in dict.fromkeys(names)
    }
    return RunRecords(
        run=run,
        dataset=read(run.dataset, Dataset.load),
        fingerprint=read(run.fingerprint, Fingerprint.load),
        plan=plan,
        summary=summary,
        postprocessing=read(run.postprocessing, _decision),
        provenance=read(run.provenance, read_mapping),
        folds={name: found for name, found in folds.items() if found},
        problems=tuple(problems),
    )


def _decision(path: Path) -> Decision:
    """postprocessing.json is a `Decision` with the configuration that it is about beside its fields."""
    fields = read_mapping(path)
    fields.pop("configuration", None)
    return Decision.from_mapping(fields, where=path)


def _fold(name: str, folder: Fold, read: Callable[..., dict[str, Any] | None]) -> FoldRecords:
    summary = read(folder.validation_summary, read_mapping)
    cases = None
    if summary is not None:
        cases = tuple(CaseScores(id, name, scores) for id, scores in sorted(summary.get("cases", {}).items()))
    return FoldRecords(folder, read_metrics(folder.metrics), cases)
