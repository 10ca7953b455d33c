"""What a run can choose from: validated configurations and their ensembles, and the rule that picks one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from autoseg.evaluation.scores import FOREGROUND, ScoreRows, Scores, summarise
from autoseg.evaluation.summary import ModelScores
from autoseg.log import logger
from autoseg.plan.record import Plan
from autoseg.run_state import fold_state
from autoseg.workspace import ALL_DATA, Fold, Run

_DIGITS = 4
"""Of a Dice: differences beyond are no reason for a larger model."""


@dataclass(frozen=True)
class Candidate:
    """One configuration or ensemble with the scores of its validated cases.

    Attributes:
        configurations: names, in the plan's order.
        networks: that have to run on an image: one per fold, and those of a cascade's first stage too.
        scores: case -> label -> metric -> value.
        fold_of: case -> fold that validated it.
        folders: fold -> its folder; of an ensemble the ensemble's own for all.
        ending: of the prediction files.
    """

    configurations: tuple[str, ...]
    networks: int
    scores: Mapping[str, ScoreRows]
    fold_of: Mapping[str, str]
    folders: Mapping[str, Fold]
    ending: str

    @property
    def name(self) -> str:
        """As in messages, on the command line and in summary.json."""
        return "+".join(self.configurations)

    @property
    def cases(self) -> frozenset[str]:
        """Identifiers of the validated cases."""
        return frozenset(self.scores)

    @cached_property
    def pooled(self) -> Scores:
        """The cases of all folds with their statistics."""
        return summarise(self.scores)

    @property
    def dice(self) -> float | None:
        """Mean foreground Dice."""
        return self.pooled.foreground_dice

    def prediction(self, case: str) -> Path:
        """Label file of a case."""
        return self._folder(case).validation / f"{case}{self.ending}"

    def probabilities(self, case: str) -> Path:
        """File of a case's probabilities."""
        return self._folder(case).probabilities / f"{case}.b2nd"

    def model_scores(self) -> ModelScores:
        """What summary.json says about it: the statistics, and each fold's Dice (foreground mean, labels)."""
        folds = {}
        for fold in self.folders:
            part = summarise({case: rows for case, rows in self.scores.items() if self.fold_of[case] == fold})
            folds[fold] = {FOREGROUND: part.foreground_dice, **part.dice}
        pooled = self.pooled
        partly = any(count < len(self.scores) for count in pooled.counted.values())
        return ModelScores(
            cases=len(self.scores),
            counted=pooled.counted if partly else {},
            mean=pooled.mean,
            foreground_mean=pooled.foreground_mean,
            median=pooled.median,
            std=pooled.std,
            undefined=pooled.undefined,
            folds=folds,
            configurations=self.configurations if len(self.configurations) > 1 else (),
        )

    def _folder(self, case: str) -> Fold:
        return self.folders[self.fold_of[case]]


def validated_configuration(run: Run, plan: Plan, name: str) -> Candidate | None:
    """A configuration with the cases of all its validated folds; None without any.

    A model of all data has no cases of its own to be validated on, so that it never counts. Of folds that validate the
    same case, as splits from a file may have them, the last counts, and a warning says so.
    """
    folders: dict[str, Fold] = {}
    scores: dict[str, ScoreRows] = {}
    fold_of: dict[str, str] = {}
    repeated: set[str] = set()
    for fold, folder in run.folds(name).items():
        if fold != ALL_DATA and fold_state(folder).validated:
            content = Scores.load(folder.validation_summary).cases
            repeated |= scores.keys() & content.keys()
            scores |= content
            fold_of |= dict.fromkeys(content, fold)
            folders[fold] = folder
    if not scores:
        return None
    if repeated:
        logger.warning(
            "%s: cases that several folds validate: %d; each counts once, as the last of these folds has it. "
            "Figures of a fold by itself: %s", name, len(repeated), run.fold(name, "K").validation_summary,
        )  # fmt: skip
    return Candidate((name,), count_networks(run, plan, (name,)), scores, fold_of, folders, plan.file_ending)


def count_networks(run: Run, plan: Plan, names: Sequence[str]) -> int:
    """Networks that predict an image with these configurations; a first stage that two share counts once."""
    needed: set[str] = set()
    for name in names:
        current: str | None = name
        while current is not None:
            needed.add(current)
            current = plan.configurations[current].previous_stage
    return sum(
        1
        for name in needed
        for fold, folder in run.folds(name).items()
        if fold != ALL_DATA and fold_state(folder).validated
    )


def comparable(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Those validated on the same cases, as many as possible, and the others.

    Of several sets of cases the largest counts, then the one that more candidates share, then the earlier.
    """
    groups: dict[frozenset[str], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.cases, []).append(candidate)
    chosen = max(groups, key=lambda cases: (len(cases), len(groups[cases])), default=frozenset())
    return [c for c in candidates if c.cases == chosen], [c for c in candidates if c.cases != chosen]


def best_of(candidates: Sequence[Candidate], plan: Plan) -> Candidate:
    """The candidate with the highest mean foreground Dice, rounded to four digits.

    Ties go to the simpler: fewer networks, then the earlier in the plan. Without any Dice the simplest is taken.
    """
    order = list(plan.configurations)

    def rank(candidate: Candidate) -> tuple[float, int, tuple[int, ...]]:
        dice = -1.0 if candidate.dice is None else round(candidate.dice, _DIGITS)
        return -dice, candidate.networks, tuple(order.index(name) for name in candidate.configurations)

    return min(candidates, key=rank)
