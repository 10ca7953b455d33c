"""A run's summary.json as rows: the cross-validated Dice of every configuration and ensemble."""

from __future__ import annotations

from dataclasses import dataclass

from autoseg.evaluation.scores import FOREGROUND
from autoseg.evaluation.summary import Summary


@dataclass(frozen=True)
class ModelRow:
    """Dice of one configuration or ensemble over its validation cases.

    Attributes:
        name: as it is shown, "a + b" for an ensemble.
        configurations: one, or those of the ensemble.
        chosen: whether it is the run's best model.
        dice: label -> mean over the cases, with the foreground mean under `FOREGROUND`; None where none exists.
        folds: fold -> the same over the fold's cases; runs of earlier versions have the foreground mean alone.
        cases: how many were validated.
        counted: label -> how many of them it was looked for in; empty where that is all of them for every label.
    """

    name: str
    configurations: tuple[str, ...]
    chosen: bool
    dice: dict[str, float | None]
    folds: dict[str, dict[str, float | None]]
    cases: int
    counted: dict[str, int]


def model_rows(summary: Summary) -> tuple[ModelRow, ...]:
    """The configurations of a summary in their order, then its ensembles; an empty summary has none."""
    return tuple(
        ModelRow(
            name=" + ".join(names),
            configurations=names,
            chosen=set(names) == set(summary.best.configurations),
            dice=scores.dice | {FOREGROUND: scores.foreground_dice},
            folds=scores.folds,
            cases=scores.cases,
            counted=scores.counted,
        )
        for names, scores in summary.models.items()
    )
