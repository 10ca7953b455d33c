"""Results of `autoseg evaluate` made up from a few numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoseg.evaluation.scores import Scores

Row = dict[str, float | None]


def row(dice: float | None = 0.8, hd95: float | None = 2.0, *, n_ref: int = 1000, n_pred: int = 1000) -> Row:
    """Scores of one label in one case."""
    return {"dice": dice, "hd95": hd95, "n_ref": n_ref, "n_pred": n_pred}


ABSENT = row(None, None, n_ref=0, n_pred=0)
"""In neither reference nor prediction."""
FALSE_ALARM = row(0.0, None, n_ref=0, n_pred=50)
"""In the prediction alone."""
MISSED = row(0.0, None, n_pred=0)
"""In the reference alone."""


def result(cases: Mapping[str, Mapping[str, Row]], **more: Any) -> Scores:
    """One method's, as evaluate gives it."""
    return Scores.from_mapping({"cases": cases, **more})


def dice_only(values: Sequence[float], label: str = "liver") -> Scores:
    """One method's Dice of one label in cases c00, c01, ..."""
    return result({f"c{i:02d}": {label: row(float(value))} for i, value in enumerate(values)})
