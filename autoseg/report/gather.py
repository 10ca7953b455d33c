"""Everything a run folder holds for its report, read leniently: what is missing is None, never an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.errors import AutosegError
from autoseg.evaluation.scores import ScoreRows, Scores
from autoseg.evaluation.summary import Summary
from autoseg.evaluation.uncertainty import Cases, summarise_uncertainty, uncertainty_cases
from autoseg.fingerprint.record import Fingerprint
from autoseg.inference.estimate import Reliability
from autoseg.plan.record import PRETRAINING, SEGMENTATION, Plan
from autoseg.postprocessing.choose import Decision
from autoseg.provenance import Provenance
from autoseg.records import read_mapping
from autoseg.run_state import MetricsRow, read_metrics
from autoseg.workspace import Fold, Run

Content = TypeVar("Content")


@dataclass(frozen=True)
class CaseScores:
    """One validation case of one configuration."""

    id: str
    fold: str
    scores: ScoreRows

    @property
    def foreground_dice(self) -> float | None:
        """Mean Dice over the labels where it is defined; None if it is for none."""
        values = [metrics.get("dice") for metrics in self.scores.values()]
        scored = [value for value in values if value is not None]
        return float(np.mean(scored)) if scored else None


@dataclass(frozen=True)
class FoldRecords:
    """One fold: the rows of its training, and its validation cases (None before the validation).

    Attributes:
        beside: the rows of the cases' scores that are not about a label.
    """

    folder: Fold
    metrics: list[MetricsRow]
    cases: tuple[CaseScores, ...] | None
    beside: tuple[CaseScores, ...] = ()


@dataclass(frozen=True)
class RunRecords:
    """The contents of a run folder; what a run has not reached yet is None or empty.

    Attributes:
        folds: configuration -> fold name -> records, for the folds that have a folder.
        problems: files that exist and cannot be read, in words.
        ensembles: names of the configurations -> its validated cases, each with the fold that left it out.
        expected: expected and true Dice of the chosen model's validated cases, as `evaluation.uncertainty` has them.
        reliability: of the chosen model's expected Dice.
        reproduction: the comparison with a published benchmark that the run repeats, as reproduction.json has it.
    """

    run: Run
    dataset: Dataset | None
    fingerprint: Fingerprint | None
    plan: Plan | None
    summary: Summary
    postprocessing: Decision | None
    provenance: Provenance | None
    folds: dict[str, dict[str, FoldRecords]]
    problems: tuple[str, ...]
    ensembles: dict[tuple[str, ...], tuple[CaseScores, ...]] = field(default_factory=dict)
    expected: Cases = field(default_factory=dict)
    reliability: Reliability | None = None
    reproduction: dict[str, Any] | None = None

    @cached_property
    def name(self) -> str:
        """Name of the data set, else of the run folder."""
        for record in (self.dataset, self.fingerprint):
            if record is not None:
                return record.name
        return self.plan.dataset if self.plan is not None else self.run.root.resolve().name

    @property
    def segments(self) -> bool:
        """Whether its networks label images."""
        return self.plan is None or self.plan.task == SEGMENTATION

    @property
    def pretrains(self) -> bool:
        """Whether its networks are encoders, trained without labels."""
        return self.plan is not None and self.plan.task == PRETRAINING

    @cached_property
    def evaluated(self) -> dict[str, tuple[CaseScores, ...]]:
        """Configuration -> its validation cases of all folds, for those that have any."""
        pooled = {
            name: tuple(case for fold in folds.values() for case in fold.cases or ())
            for name, folds in self.folds.items()
        }
        return {name: cases for name, cases in pooled.items() if cases}

    @cached_property
    def models(self) -> dict[tuple[str, ...], tuple[CaseScores, ...]]:
        """Everything that was validated: the configurations, each as a tuple of one, and the ensembles."""
        return {(name,): cases for name, cases in self.evaluated.items()} | self.ensembles

    @cached_property
    def chosen(self) -> tuple[str, ...]:
        """Names of the configurations that the run chose, several for an ensemble.

        Before the choice is made: the evaluated configuration with the best mean foreground Dice.
        """
        ranked = sorted(self.evaluated, key=lambda name: -(mean_foreground_dice(self.evaluated[name]) or 0.0))
        return self.summary.best.configurations or tuple(ranked[:1])

    @cached_property
    def chosen_model(self) -> tuple[str, ...] | None:
        """The key in `models` of what was chosen, or of the first part of it that has cases; None without any."""
        parts = [self.chosen, *((name,) for name in self.chosen), *self.models]
        return next((model for model in parts if model in self.models), None)

    def validation_folder(self, model: tuple[str, ...], case: CaseScores) -> Path:
        """Where the prediction of a validation case lies."""
        folder = self.run.ensemble(model) if len(model) > 1 else self.folds[model[0]][case.fold].folder
        return folder.validation


def mean_foreground_dice(cases: Sequence[CaseScores]) -> float | None:
    """Mean over the labels of each label's mean over the cases, as a summary has it; None if no Dice is defined."""
    labels = dict.fromkeys(label for case in cases for label in case.scores)
    columns = [[case.scores.get(label, {}).get("dice") for case in cases] for label in labels]
    means = [np.mean(scored) for column in columns if (scored := [value for value in column if value is not None])]
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
    summary = read(run.summary, Summary.load) or Summary()
    names = list(plan.configurations) if plan is not None else []
    names += [folder.parent.name for folder in sorted(run.root.glob("*/fold_*")) if folder.is_dir()]
    folds = {
        name: {fold: _fold(fold, folder, read) for fold, folder in run.folds(name).items()}
        for name in dict.fromkeys(names)
    }
    records = RunRecords(
        run=run,
        dataset=read(run.dataset, Dataset.load),
        fingerprint=read(run.fingerprint, Fingerprint.load),
        plan=plan,
        summary=summary,
        postprocessing=read(run.postprocessing, _decision),
        provenance=read(run.provenance, Provenance.load),
        folds={name: trained for name, trained in folds.items() if trained},
        problems=(),
        ensembles=_ensembles(run, summary, folds, read),
        reproduction=read(run.root / "reproduction.json", read_mapping),
    )
    chosen, expected = records.chosen, {}
    if chosen:
        expected = read(run.root, lambda _: uncertainty_cases(run, chosen)) or {}
    reliability = summary.reliability(chosen)
    if reliability is None and expected:
        reliability = summarise_uncertainty(expected, configurations=chosen)
    return replace(records, problems=tuple(dict.fromkeys(problems)), expected=expected, reliability=reliability)


def _ensembles(
    run: Run,
    summary: Summary,
    folds: Mapping[str, Mapping[str, FoldRecords]],
    read: Callable[..., Scores | None],
) -> dict[tuple[str, ...], tuple[CaseScores, ...]]:
    """The ensembles that the summary names and whose scores are there."""
    ensembles = {}
    for names in [names for names in summary.models if len(names) > 1]:
        parts = folds.get(names[0], {}).values()
        fold_of = {case.id: case.fold for part in parts for case in part.cases or ()}
        scores = read(run.ensemble(names).validation_summary, Scores.load)
        if scores is not None and scores.cases:
            cases = sorted(scores.cases.items())
            ensembles[names] = tuple(CaseScores(id, fold_of.get(id, "?"), rows) for id, rows in cases)
    return ensembles


def _decision(path: Path) -> Decision:
    """postprocessing.json is a `Decision` with the configurations that it is about beside its fields."""
    fields = read_mapping(path)
    for name in ("configurations", "configuration"):  # runs of earlier versions have one name
        fields.pop(name, None)
    return Decision.from_mapping(fields, where=path)


def _fold(name: str, folder: Fold, read: Callable[..., Scores | None]) -> FoldRecords:
    scores = read(folder.validation_summary, Scores.load)
    if scores is None:
        return FoldRecords(folder, read_metrics(folder.metrics), None)
    ordered = sorted(scores.cases.items())

    def rows(labels: bool) -> tuple[CaseScores, ...]:
        return tuple(
            CaseScores(id, name, {row: metrics for row, metrics in scored.items() if ("dice" in metrics) == labels})
            for id, scored in ordered
        )

    return FoldRecords(folder, read_metrics(folder.metrics), rows(True), rows(False))
