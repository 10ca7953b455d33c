"""A run's summary.json as rows: the cross-validated Dice of every configuration and ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FOREGROUND = "foreground_mean"
"""Name of the mean over labels beside the labels' own names."""


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
    """

    name: str
    configurations: tuple[str, ...]
    chosen: bool
    dice: dict[str, float | None]
    folds: dict[str, dict[str, float | None]]
    cases: int


def model_rows(summary: Mapping[str, Any]) -> tuple[ModelRow, ...]:
    """The configurations of a summary.json in their order, then its ensembles; an empty summary has none."""
    chosen = set((summary.get("best") or {}).get("configurations") or ())
    single = [((name,), content) for name, content in (summary.get("configurations") or {}).items()]
    pairs = [
        (tuple(content.get("configurations") or name.split("+")), content)
        for name, content in (summary.get("ensembles") or {}).items()
    ]
    return tuple(
        ModelRow(
            name=" + ".join(names),
            configurations=names,
            chosen=set(names) == chosen,
            dice={label: row["dice"] for label, row in content["mean"].items() if "dice" in row}
            | {FOREGROUND: content[FOREGROUND].get("dice")},
            folds={fold: _fold(values) for fold, values in (content.get("folds") or {}).items()},
            cases=content.get("cases", 0),
        )
        for names, content in [*single, *pairs]
    )


def _fold(values: Mapping[str, float | None] | float | None) -> dict[str, float | None]:
    return dict(values) if isinstance(values, Mapping) else {FOREGROUND: values}
