"""Where the pitfalls of metrics apply that come of a structure's size, of its absence and of the grid.

Each check returns label -> the numbers that show it, for the labels concerned. The thresholds are this project's: the
literature describes effects, not where they begin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import binomtest

from autoseg.evaluation.label_scores import LabelScores
from autoseg.evaluation.significance import holm
from autoseg.log import counted

Texts = dict[str, str]
"""Label -> the numbers that show a pitfall."""

ALPHA = 0.05

_SMALL = 100
"""Voxels up to which one of them moves Dice by half a percent or more."""
_SMALL_SHARE = 0.1
_OUTLYING = 2.0
"""A Hausdorff distance so many times HD95 is decided by a few voxels."""
_OUTLYING_SHARE = 0.25
_BIAS = 0.05
"""Relative difference of volumes below which even a certain one does not matter."""
_THIN = 5.0
"""Voxels across below which the grid decides much of a shape."""
_GENEROUS = 0.25
"""Share of a structure's width from which on a tolerance forgives almost everything."""


def small(labels: Sequence[LabelScores], _tolerance_mm: float) -> Texts:
    """Structures of which a single voxel moves Dice visibly."""

    def text(label: LabelScores) -> str | None:
        voxels = label.n_ref[label.n_ref > 0]
        few = int((voxels <= _SMALL).sum())
        if few == 0 or few < _SMALL_SHARE * len(voxels):
            return None
        # Of an otherwise perfect prediction that lacks one voxel: 1 - 2 (n - 1) / (2 n - 1).
        shift = 1 / (2 * voxels - 1)
        return (
            f"{few} of {counted(len(voxels), 'case')} have at most {_SMALL} voxels; one voxel moves Dice by "
            f"{np.median(shift):.2g} in the median case and by up to {shift.max():.2g}"
        )

    return texts(text, labels)


def outlying(labels: Sequence[LabelScores], _tolerance_mm: float) -> Texts:
    """Hausdorff distances that a few voxels decide."""

    def text(label: LabelScores) -> str | None:
        both = (label.hd95 > 0) & ~np.isnan(label.hausdorff)
        largest, typical = label.hausdorff[both], label.hd95[both]
        count = int((largest > _OUTLYING * typical).sum())
        if count == 0 or count < _OUTLYING_SHARE * len(largest):
            return None
        return (
            f"the Hausdorff distance is more than {_OUTLYING:g} times HD95 in {count} of "
            f"{counted(len(largest), 'case')} (medians {np.median(largest):.3g} and {np.median(typical):.3g} mm)"
        )

    return texts(text, labels)


def empty_reference(labels: Sequence[LabelScores], _tolerance_mm: float) -> Texts:
    """Labels that references lack."""

    def text(label: LabelScores) -> str | None:
        absent = label.n_ref == 0
        if not absent.any():
            return None
        painted = int((label.n_pred[absent] > 0).sum())
        return f"absent from {absent.sum()} of {counted(len(absent), 'reference')}, and painted in {painted} of them"

    return texts(text, labels)


def empty_prediction(labels: Sequence[LabelScores], _tolerance_mm: float) -> Texts:
    """Structures of which nothing was found."""

    def text(label: LabelScores) -> str | None:
        present = label.n_ref > 0
        missed = int((label.n_pred[present] == 0).sum())
        cases = f"{counted(present.sum(), 'case')} that {'has' if present.sum() == 1 else 'have'} it"
        return f"not found in {missed} of the {cases}" if missed else None

    return texts(text, labels)


def biased_size(labels: Sequence[LabelScores], _tolerance_mm: float) -> Texts:
    """Labels that are drawn too large or too small more often than chance would have it, corrected over labels."""
    tests = []
    for label in labels:
        present = label.n_ref > 0
        ratio = label.n_pred[present] / label.n_ref[present]
        larger, smaller = int((ratio > 1).sum()), int((ratio < 1).sum())
        if larger + smaller:
            tests.append((label.name, ratio, larger, smaller))
    findings = {}
    for (name, ratio, larger, smaller), p in zip(tests, sign_tests([t[2:] for t in tests]), strict=True):
        middle = float(np.median(ratio))
        if p < ALPHA and abs(middle - 1) >= _BIAS and (larger > smaller) == (middle > 1):
            side, count = ("larger", larger) if larger > smaller else ("smaller", smaller)
            findings[name] = (
                f"{side} than the reference in {count} of {counted(len(ratio), 'case')} (median ratio of volumes "
                f"{middle:.2f}, sign test {p_text(p)})"
            )
    return findings


def thin(labels: Sequence[LabelScores], _tolerance_mm: float) -> Texts:
    """Structures that are few voxels wide."""

    def text(label: LabelScores) -> str | None:
        across = (label.width / label.coarsest)[~np.isnan(label.width)]
        if not across.size or np.median(across) >= _THIN:
            return None
        return (
            f"even a ball of its volume is only {np.median(across):.1f} voxels wide along the coarsest axis in the "
            f"median case ({np.nanmedian(label.width):.3g} mm, voxels of {np.nanmedian(label.coarsest):.3g} mm)"
        )

    return texts(text, labels)


def tight_tolerance(labels: Sequence[LabelScores], tolerance_mm: float) -> Texts:
    """A tolerance of NSD below the distance between voxels."""

    def text(label: LabelScores) -> str | None:
        coarsest = label.coarsest[~np.isnan(label.nsd) & ~np.isnan(label.coarsest)]
        coarse = int((coarsest > tolerance_mm).sum())
        if coarse == 0 or 2 * coarse < len(coarsest):
            return None
        return f"voxels of up to {coarsest.max():.3g} mm against a tolerance of {tolerance_mm:g} mm"

    return texts(text, labels)


def generous_tolerance(labels: Sequence[LabelScores], tolerance_mm: float) -> Texts:
    """A tolerance of NSD that is a large part of the structure."""

    def text(label: LabelScores) -> str | None:
        widths = label.width[~np.isnan(label.nsd) & ~np.isnan(label.width)]
        if not widths.size or tolerance_mm < _GENEROUS * np.median(widths):
            return None
        return (
            f"a tolerance of {tolerance_mm:g} mm against at most {np.median(widths):.3g} mm of width in the median case"
        )

    return texts(text, labels)


def texts(text: Callable[[LabelScores], str | None], labels: Sequence[LabelScores]) -> Texts:
    """What a check of one label says of each, without those that it says nothing of."""
    return {label.name: sentence for label in labels if (sentence := text(label)) is not None}


def sign_tests(counts: Sequence[tuple[int, int]]) -> list[float]:
    """Two-sided sign tests of (ups, downs), at least one of either, corrected together (Holm 1979)."""
    return [float(p) for p in holm([float(binomtest(ups, ups + downs).pvalue) for ups, downs in counts])]


def p_text(p: float) -> str:
    """A p-value in words: "p = 0.021", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
