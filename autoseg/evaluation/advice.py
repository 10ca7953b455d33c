"""What to beware of when reading the scores of this data: pitfalls of metrics, each with the numbers that show it.

Each pitfall is a row of `_PITFALLS`: a check that says for which labels it applies, and what follows from it. Only
those that apply are returned. The thresholds are this project's: the sources describe effects, not where they begin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import pi

import numpy as np
from scipy.stats import binomtest

from autoseg.errors import ConfigurationError
from autoseg.evaluation.significance import holm
from autoseg.evaluation.summary import CaseScores
from autoseg.metrics.surface import TOLERANCE_MM
from autoseg.records import Record

PITFALLS = "Reinke et al. 2024, Understanding metric-related pitfalls, Nature Methods 21:182-194"
RELOADED = "Maier-Hein, Reinke et al. 2024, Metrics reloaded, Nature Methods 21:195-212"
SURFACE_DICE = "Nikolov et al. 2021, J Med Internet Res 23(7):e26151"

_SMALL = 100
"""Voxels up to which one of them moves Dice by half a percent or more."""
_SMALL_SHARE = 0.1
_OUTLYING = 2.0
"""A Hausdorff distance so many times HD95 is decided by a few voxels."""
_OUTLYING_SHARE = 0.25
_BIAS = 0.05
"""Relative difference of volumes below which even a certain one does not matter."""
_ALPHA = 0.05
_THIN = 5.0
"""Voxels across below which the grid decides much of a shape."""
_GENEROUS = 0.25
"""Share of a structure's width from which on a tolerance forgives almost everything."""


class Advice(Record):
    """One pitfall that applies to the data.

    Attributes:
        name: short and stable, for programs.
        title: for headings.
        sentence: the numbers that show it, label by label, and what follows.
        labels: those concerned.
        source: publication that describes the pitfall.
    """

    name: str
    title: str
    sentence: str
    labels: tuple[str, ...]
    source: str


def advise(
    cases: Mapping[str, CaseScores],
    *,
    spacings: Mapping[str, Sequence[float]] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
) -> tuple[Advice, ...]:
    """Pitfalls that apply to the scores of one method.

    Args:
        cases: case -> label -> scores, as "cases" of what `evaluate.evaluate` returns: voxel counts n_ref and n_pred,
            and hausdorff, hd95 and nsd where they were computed. A check without its numbers says nothing.
        spacings: case -> mm between voxels, one value an axis of the image: three, or two of plane images. Without
            them resolution and tolerance are not judged.
        tolerance_mm: with which nsd was computed.

    Returns:
        Advice in a fixed order, each pitfall once; none for no cases.

    Raises:
        ConfigurationError: a case has scores but no spacing, though others have one.
    """
    missing = [case for case in cases if spacings is not None and case not in spacings]
    if missing:
        raise ConfigurationError("the spacing of a case is not known", where=missing[0], remedy="give all or none")
    names = dict.fromkeys(label for scores in cases.values() for label in scores)
    labels = [_collect(name, cases, spacings) for name in names]
    found = []
    for pitfall in _PITFALLS:
        texts = pitfall.check(labels, tolerance_mm)
        if texts:
            shown = "; ".join(f"{name}: {text}" for name, text in texts.items())
            found.append(
                Advice(
                    name=pitfall.name,
                    title=pitfall.title,
                    sentence=f"{shown}. {pitfall.meaning}",
                    labels=tuple(texts),
                    source=pitfall.source,
                )
            )
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Label:
    """One label over the n cases that have a row of it; arrays float64 (n,), NaN where a value does not exist.

    Attributes:
        n_ref, n_pred: voxels.
        hausdorff, hd95: mm.
        nsd: 0..1.
        width: mm, of the ball (in a plane the disc) of the reference's volume, the widest that the structure can be
            at its thickest place; NaN for an absent one or without spacing.
        coarsest: mm, largest spacing of the image.
    """

    name: str
    n_ref: np.ndarray
    n_pred: np.ndarray
    hausdorff: np.ndarray
    hd95: np.ndarray
    nsd: np.ndarray
    width: np.ndarray
    coarsest: np.ndarray


def _collect(name: str, cases: Mapping[str, CaseScores], spacings: Mapping[str, Sequence[float]] | None) -> _Label:
    rows = {case: scores[name] for case, scores in cases.items() if name in scores}

    def values(key: str) -> np.ndarray:
        found = [row.get(key) for row in rows.values()]
        return np.array([np.nan if value is None else value for value in found], np.float64)

    known = [() if spacings is None else tuple(spacings[case]) for case in rows]
    return _Label(
        name=name,
        n_ref=values("n_ref"),
        n_pred=values("n_pred"),
        hausdorff=values("hausdorff"),
        hd95=values("hd95"),
        nsd=values("nsd"),
        width=np.array([_width(n, spacing) for n, spacing in zip(values("n_ref"), known, strict=True)], np.float64),
        coarsest=np.array([max(spacing, default=np.nan) for spacing in known], np.float64),
    )


def _width(voxels: float, spacing: Sequence[float]) -> float:
    if not spacing or not voxels > 0:
        return float("nan")
    size = voxels * float(np.prod(spacing))
    return 2 * (size / pi) ** 0.5 if len(spacing) == 2 else (6 * size / pi) ** (1 / 3)


def _small(label: _Label) -> str | None:
    voxels = label.n_ref[label.n_ref > 0]
    small = int((voxels <= _SMALL).sum())
    if small == 0 or small < _SMALL_SHARE * len(voxels):
        return None
    # Of an otherwise perfect prediction that lacks one voxel: 1 - 2 (n - 1) / (2 n - 1).
    shift = 1 / (2 * voxels - 1)
    return (
        f"{small} of {len(voxels)} cases have at most {_SMALL} voxels; one voxel moves Dice by {np.median(shift):.2g} "
        f"in the median case and by up to {shift.max():.2g}"
    )


def _outlying(label: _Label) -> str | None:
    both = (label.hd95 > 0) & ~np.isnan(label.hausdorff)
    largest, typical = label.hausdorff[both], label.hd95[both]
    outlying = int((largest > _OUTLYING * typical).sum())
    if outlying == 0 or outlying < _OUTLYING_SHARE * len(largest):
        return None
    return (
        f"the Hausdorff distance is more than {_OUTLYING:g} times HD95 in {outlying} of {len(largest)} cases (medians "
        f"{np.median(largest):.3g} and {np.median(typical):.3g} mm)"
    )


def _empty_reference(label: _Label) -> str | None:
    absent = label.n_ref == 0
    if not absent.any():
        return None
    painted = int((label.n_pred[absent] > 0).sum())
    return f"absent from {absent.sum()} of {len(absent)} references, and painted in {painted} of them"


def _empty_prediction(label: _Label) -> str | None:
    present = label.n_ref > 0
    missed = int((label.n_pred[present] == 0).sum())
    return f"not found in {missed} of the {present.sum()} cases that have it" if missed else None


def _sizes(labels: Sequence[_Label], _tolerance_mm: float) -> dict[str, str]:
    """Labels that are drawn too large or too small more often than chance would have it, corrected over labels."""
    tests = []
    for label in labels:
        present = label.n_ref > 0
        ratio = label.n_pred[present] / label.n_ref[present]
        larger, smaller = int((ratio > 1).sum()), int((ratio < 1).sum())
        if larger + smaller:
            tests.append((label.name, ratio, larger, smaller, float(binomtest(larger, larger + smaller).pvalue)))
    texts = {}
    for (name, ratio, larger, smaller, _), p in zip(tests, holm([test[-1] for test in tests]), strict=True):
        middle = float(np.median(ratio))
        if p < _ALPHA and abs(middle - 1) >= _BIAS and (larger > smaller) == (middle > 1):
            side, count = ("larger", larger) if larger > smaller else ("smaller", smaller)
            shown = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
            texts[name] = (
                f"{side} than the reference in {count} of {len(ratio)} cases (median ratio of volumes {middle:.2f}, "
                f"sign test {shown})"
            )
    return texts


def _thin(label: _Label) -> str | None:
    across = (label.width / label.coarsest)[~np.isnan(label.width)]
    if not across.size or np.median(across) >= _THIN:
        return None
    return (
        f"even a ball of its volume is only {np.median(across):.1f} voxels wide along the coarsest axis in the median "
        f"case ({_middle(label.width):.3g} mm, voxels of {_middle(label.coarsest):.3g} mm)"
    )


def _tight(label: _Label, tolerance_mm: float) -> str | None:
    used = ~np.isnan(label.nsd) & ~np.isnan(label.coarsest)
    coarse = int((label.coarsest[used] > tolerance_mm).sum())
    if coarse == 0 or 2 * coarse < used.sum():
        return None
    return f"voxels of up to {label.coarsest[used].max():.3g} mm against a tolerance of {tolerance_mm:g} mm"


def _generous(label: _Label, tolerance_mm: float) -> str | None:
    widths = label.width[~np.isnan(label.nsd) & ~np.isnan(label.width)]
    if not widths.size or tolerance_mm < _GENEROUS * np.median(widths):
        return None
    return f"a tolerance of {tolerance_mm:g} mm against at most {np.median(widths):.3g} mm of width in the median case"


def _middle(values: np.ndarray) -> float:
    return float(np.nanmedian(values))


_Check = Callable[[Sequence[_Label], float], dict[str, str]]
"""(labels, tolerance in mm) -> numbers of each label that the pitfall concerns."""


@dataclass(frozen=True)
class _Pitfall:
    """One row: `check` finds where it applies, `meaning` says what follows."""

    name: str
    title: str
    check: _Check
    meaning: str
    source: str


def _each(check: Callable[[_Label], str | None]) -> _Check:
    return partial(_texts, lambda label, _: check(label))


def _each_with_tolerance(check: Callable[[_Label, float], str | None]) -> _Check:
    return partial(_texts, check)


def _texts(
    check: Callable[[_Label, float], str | None], labels: Sequence[_Label], tolerance_mm: float
) -> dict[str, str]:
    return {label.name: text for label in labels if (text := check(label, tolerance_mm)) is not None}


_PITFALLS = (
    _Pitfall(
        "small-structures",
        "Dice is unstable for small structures",
        _each(_small),
        "Differences of that size say little: count found and missed objects, and read NSD beside Dice.",
        PITFALLS,
    ),
    _Pitfall(
        "outlying-hausdorff",
        "Single voxels decide the Hausdorff distance",
        _each(_outlying),
        "Read HD95 or the average surface distance beside it, and look at those cases for small false islands.",
        PITFALLS,
    ),
    _Pitfall(
        "empty-references",
        "Some references lack a label",
        _each(_empty_reference),
        "Dice has no value there, or is 0 for a single false voxel: read false alarms as a count, not within a mean.",
        RELOADED,
    ),
    _Pitfall(
        "empty-predictions",
        "Some structures were not found at all",
        _each(_empty_prediction),
        "Distances do not exist there, so that their mean over the other cases flatters.",
        RELOADED,
    ),
    _Pitfall(
        "biased-size",
        "Structures come out too large or too small",
        _sizes,
        "Dice costs missing voxels more than as many false ones: read volumes, precision and sensitivity beside it.",
        PITFALLS,
    ),
    _Pitfall(
        "coarse-resolution",
        "Structures are few voxels wide",
        _each(_thin),
        "Half a voxel at the surface changes overlap and distances much: do not compare with scores at another "
        "resolution.",
        PITFALLS,
    ),
    _Pitfall(
        "tight-tolerance",
        "The tolerance of NSD is finer than the voxels",
        _each_with_tolerance(_tight),
        "A surface that is one slice off counts as wholly wrong: take a tolerance that two readers would agree within.",
        SURFACE_DICE,
    ),
    _Pitfall(
        "generous-tolerance",
        "The tolerance of NSD is large for the structure",
        _each_with_tolerance(_generous),
        "Nearly anything painted in the right place is within it: NSD cannot tell methods apart there.",
        SURFACE_DICE,
    ),
)
