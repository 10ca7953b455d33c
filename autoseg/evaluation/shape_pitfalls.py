"""Where the pitfalls of metrics apply that come of a structure's shape and place: holes, and its centre.

Each check returns label -> the numbers that show it, as in `pitfalls`. Scores of earlier versions have neither holes
nor centroids, and nothing is said about them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoseg.evaluation.label_scores import LabelScores
from autoseg.evaluation.pitfalls import ALPHA, Texts, p_text, sign_tests, texts
from autoseg.log import counted
from autoseg.metrics.score import SHIFTS

_HOLES_SHARE = 0.1
"""Share of the cases in which holes are no accident."""
_LOW_DICE = 0.7
_CENTRED = 0.1
"""Share of a structure's width within which two centres agree."""
_CENTRED_SHARE = 0.25
_SHIFTED = 0.25
"""Voxels by which centres must lie to one side in the median case; a grid that is off is off by half of one."""


def holes(labels: Sequence[LabelScores], _tolerance_mm: float) -> Texts:
    """Holes that only the prediction or only the reference has."""

    def text(label: LabelScores) -> str | None:
        both = (label.n_ref > 0) & (label.n_pred > 0)
        both &= ~np.isnan(label.hole_voxels_ref) & ~np.isnan(label.hole_voxels_pred)
        predicted, expected = label.hole_voxels_pred[both], label.hole_voxels_ref[both]
        added, filled = (predicted > 0) & (expected == 0), (expected > 0) & (predicted == 0)
        parts = []
        if added.any() and added.sum() >= _HOLES_SHARE * both.sum():
            size = _voxels(predicted[added], label.n_pred[both][added])
            of_all = f"{added.sum()} of {counted(both.sum(), 'prediction')}"
            parts.append(f"{of_all} have holes where the reference has none ({size})")
        if filled.any() and filled.sum() >= _HOLES_SHARE * both.sum():
            size = _voxels(expected[filled], label.n_ref[both][filled])
            parts.append(f"{filled.sum()} of {counted(both.sum(), 'prediction')} lack the reference's holes ({size})")
        return ", ".join(parts) or None

    return texts(text, labels)


def centre_alignment(labels: Sequence[LabelScores], _tolerance_mm: float) -> Texts:
    """Structures that overlap little although their centres agree: they were found, whatever Dice says."""

    def text(label: LabelScores) -> str | None:
        complete = ~np.isnan(label.centroid_distance) & ~np.isnan(label.width) & ~np.isnan(label.dice)
        distance, width, dice = label.centroid_distance[complete], label.width[complete], label.dice[complete]
        located = (dice < _LOW_DICE) & (distance <= _CENTRED * width)
        if not located.any() or located.sum() < _CENTRED_SHARE * len(located):
            return None
        return (
            f"Dice is below {_LOW_DICE:g} in {located.sum()} of {counted(len(located), 'case')} though the centres lie "
            f"within a tenth of the structure's width (medians: Dice {np.median(dice[located]):.2f}, centroid distance "
            f"{np.median(distance[located]):.2g} mm, a ball of its volume {np.median(width[located]):.3g} mm wide)"
        )

    return texts(text, labels)


def one_sided_shift(labels: Sequence[LabelScores], _tolerance_mm: float) -> Texts:
    """Predictions that lie to one side of their references, tested along each axis, corrected over axes and labels."""
    tests = []
    for label in labels:
        for axis, key in enumerate(SHIFTS):
            complete = ~np.isnan(label.shift[:, axis]) & ~np.isnan(label.spacing[:, axis])
            shift = label.shift[complete, axis]
            ups, downs = int((shift > 0).sum()), int((shift < 0).sum())
            if ups + downs:
                tests.append((label.name, key[-1], shift, shift / label.spacing[complete, axis], ups, downs))
    findings: dict[str, list[str]] = {}
    for (name, letter, shift, steps, ups, downs), p in zip(tests, sign_tests([t[-2:] for t in tests]), strict=True):
        middle = float(np.median(steps))
        if p < ALPHA and abs(middle) >= _SHIFTED and (ups > downs) == (middle > 0):
            findings.setdefault(name, []).append(
                f"lies {abs(np.median(shift)):.2g} mm ({abs(middle):.2g} voxels) towards "
                f"{'larger' if middle > 0 else 'smaller'} {letter} in the median case, to that side in "
                f"{max(ups, downs)} of {len(shift)} (sign test {p_text(p)})"
            )
    return {name: ", and ".join(parts) for name, parts in findings.items()}


def _voxels(holes: np.ndarray, objects: np.ndarray) -> str:
    share = float(np.median(holes / objects))
    return f"median {np.median(holes):.0f} voxel{'' if np.median(holes) == 1 else 's'}, {100 * share:.2g} % of it"
