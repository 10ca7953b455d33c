"""Agreement in voxels, from the counts of one label. A ratio without a denominator is None, never 0 or 1.

A label that is absent from prediction and reference alike leaves nothing to measure: every function gives None, also
where a formula would have a value (specificity). If only one of the two is empty, measures of agreement are 0, and
precision (nothing predicted) or sensitivity (nothing to find) is None.

Source of all but the volume similarity: Maier-Hein, Reinke et al. 2024, "Metrics reloaded", Nature Methods 21.
"""

from __future__ import annotations

from autoseg.metrics.confusion import Counts

BETA = 2.0
"""Weight of sensitivity in `f_beta`: with 2 a missed voxel costs more than a false one (with 1 it is Dice)."""


def dice(counts: Counts) -> float | None:
    """Dice similarity coefficient 2 TP / (2 TP + FP + FN), 0..1."""
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def iou(counts: Counts) -> float | None:
    """Intersection over union (Jaccard index) TP / (TP + FP + FN), 0..1."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def precision(counts: Counts) -> float | None:
    """Share of the prediction that is right (positive predictive value) TP / (TP + FP), 0..1."""
    return _ratio(counts.tp, counts.tp + counts.fp)


def sensitivity(counts: Counts) -> float | None:
    """Share of the reference that is found (recall) TP / (TP + FN), 0..1."""
    return _ratio(counts.tp, counts.tp + counts.fn)


def specificity(counts: Counts) -> float | None:
    """Share of the reference's background that is left alone TN / (TN + FP), 0..1.

    None if the reference fills the whole image. It depends on how much background surrounds the object.
    """
    if counts.tp + counts.fp + counts.fn == 0:
        return None
    return _ratio(counts.tn, counts.tn + counts.fp)


def f_beta(counts: Counts, beta: float = BETA) -> float | None:
    """F-beta score (1 + b2) TP / ((1 + b2) TP + b2 FN + FP), 0..1 (van Rijsbergen 1979)."""
    weight = beta * beta
    hits = (1 + weight) * counts.tp
    return _ratio(hits, hits + weight * counts.fn + counts.fp)


def volume_similarity(counts: Counts) -> float | None:
    """1 - |FN - FP| / (2 TP + FP + FN), 0..1: equal volumes give 1 wherever they lie.

    Source: Taha and Hanbury 2015, BMC Medical Imaging 15:29, eq. 21. SimpleITK's filter of this name gives the signed
    relative difference 2 (P - R) / (P + R) instead; half its magnitude is one minus this value.
    """
    both = 2 * counts.tp + counts.fp + counts.fn
    return _ratio(both - abs(counts.fn - counts.fp), both)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
