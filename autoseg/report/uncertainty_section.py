"""How far the estimated Dice of new cases can be trusted, seen on the validation cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.lines import Line2D

from autoseg.evaluation.uncertainty import Cases
from autoseg.inference.estimate import FlagCheck, LabelReliability, Reliability, judgement, mean_of
from autoseg.log import counted
from autoseg.report.gather import RunRecords
from autoseg.report.metrics import label_name, short
from autoseg.report.theme import inline_svg, new_figure
from autoseg.training.curves import GRID, INK, MUTED, SERIES, plain_axes

FEW = 6
"""Up to this many classes have a colour in the picture and a column among the flagged cases."""

ExpectedAndTrue = tuple[float | None, float | None]


@dataclass(frozen=True)
class FlaggedCase:
    """A validation case that would have been flagged: (expected, true) Dice per shown class, in their order."""

    id: str
    fold: str
    worst: bool
    pairs: tuple[ExpectedAndTrue, ...]


@dataclass(frozen=True)
class UncertaintySection:
    """Section 3 of the page.

    Attributes:
        model: whose estimates they are.
        judgement: the rank correlation in words.
        rows: (class, its reliability), the foreground mean first where there are several classes.
        picture: expected against true Dice; None if no case has both.
        bias: whether the network is surer than it is right, in words.
        flags: how well flags would have worked, in words.
        classes: what the picture and the flagged cases show: few classes, or the foreground mean alone.
        flagged: the validation cases that would have been flagged.
    """

    model: str
    judgement: str
    rows: tuple[tuple[str, LabelReliability], ...]
    picture: Markup | None
    bias: str
    flags: str
    classes: tuple[str, ...]
    flagged: tuple[FlaggedCase, ...]


def uncertainty_section(records: RunRecords) -> UncertaintySection | None:
    """The section of a run; None if no expected Dice was recorded."""
    reliability = records.reliability
    if reliability is None or not records.expected:
        return None
    few = len(reliability.labels) <= FEW
    classes = tuple(reliability.labels) if few else ("foreground",)
    curves = tuple(reliability.labels.values()) if few else (reliability.foreground,)
    points = {case: _pairs(pairs, classes) for case, (_, pairs) in records.expected.items()}
    return UncertaintySection(
        model=" + ".join(records.chosen),
        judgement=judgement(reliability.foreground),
        rows=_rows(reliability),
        picture=_scatter(classes, curves, list(points.values())),
        bias=_bias(points.values()),
        flags=flag_words(reliability.check),
        classes=classes,
        flagged=_flagged(reliability.check, records.expected, points),
    )


def flag_words(check: FlagCheck | None) -> str:
    """How often flags would have been right, beside what chance would have done."""
    if check is None:
        return "Fewer than ten cases were validated, too few to say which are unusual: new cases are not flagged."
    count, worst = len(check.flagged), len(check.worst)
    chance = count * worst / max(check.cases, 1)
    return (
        f"With thresholds set on the other folds, {count} of the {counted(check.cases, 'validation case')} would "
        f"have been flagged. Of the {worst} worst cases {check.found} would have been among them; as many flags given "
        f"by lot would have found {chance:.1f}."
    )


def _bias(points: Iterable[tuple[ExpectedAndTrue, ...]]) -> str:
    gaps = [expected - true for row in points for expected, true in row if expected is not None and true is not None]
    if not gaps:
        return "No validated case has both an expected and a true Dice."
    mean = float(np.mean(gaps))
    side = "more" if mean > 0 else "less"
    return (
        f"The network's own probabilities promise a Dice that is {abs(mean):.3f} {side} than the true one on average; "
        "the calibration takes that back."
    )


def _rows(reliability: Reliability) -> tuple[tuple[str, LabelReliability], ...]:
    labels = tuple((label_name(name), label_reliability) for name, label_reliability in reliability.labels.items())
    return (("foreground", reliability.foreground), *labels) if len(labels) > 1 else labels


def _pairs(pairs: Mapping[str, ExpectedAndTrue], classes: Sequence[str]) -> tuple[ExpectedAndTrue, ...]:
    if all(name in pairs for name in classes):
        return tuple(pairs[name] for name in classes)
    if classes == ("foreground",):
        return ((mean_of(expected for expected, _ in pairs.values()), mean_of(true for _, true in pairs.values())),)
    return tuple(pairs.get(name, (None, None)) for name in classes)


def _flagged(
    check: FlagCheck | None, cases: Cases, points: dict[str, tuple[ExpectedAndTrue, ...]]
) -> tuple[FlaggedCase, ...]:
    if check is None:
        return ()
    worst = {case: rank for rank, case in enumerate(check.worst)}
    names = sorted(check.flagged, key=lambda case: (worst.get(case, len(worst)), case))
    return tuple(FlaggedCase(case, cases[case][0], case in worst, points[case]) for case in names if case in points)


def _scatter(
    classes: Sequence[str], curves: Sequence[LabelReliability], points: Sequence[tuple[ExpectedAndTrue, ...]]
) -> Markup | None:
    """Expected against true Dice, a colour per class, with each class's calibration as a line."""
    columns = [
        np.array([(x, y) for row in points if (x := row[i][0]) is not None and (y := row[i][1]) is not None])
        for i in range(len(classes))
    ]
    filled = [column for column in columns if column.size]
    if not filled:
        return None
    stacked = np.concatenate(filled)
    margin = 0.06 * np.maximum(np.ptp(stacked, axis=0), 0.02)
    low, high = stacked.min(axis=0) - margin, stacked.max(axis=0) + margin
    figure = new_figure(5.4, 4.3)
    axes = plain_axes(figure.subplots(), "Expected and true Dice, a point per case")
    axes.plot((0, 1), (0, 1), color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for column, curve, colour in zip(columns, curves, SERIES, strict=False):
        if not column.size:
            continue
        area = float(np.clip(400 / len(column), 6, 26))
        axes.scatter(column[:, 0], column[:, 1], s=area, color=colour, alpha=0.5, linewidths=0, zorder=2)
        if curve.calibration is not None:
            axes.plot(curve.calibration.expected, curve.calibration.dice, color=colour, linewidth=1.8, zorder=3)
    axes.grid(visible=True, axis="x", color=GRID, linewidth=0.6)
    axes.set_xlim(low[0], high[0])  # axes of their own, since sure networks expect nearly the same of every case
    axes.set_ylim(low[1], high[1])
    axes.set_xlabel("expected Dice", color=MUTED, fontsize=9)
    axes.set_ylabel("true Dice", color=MUTED, fontsize=9)
    marks = [Line2D([], [], marker="o", color=colour) for _, colour in zip(classes, SERIES, strict=False)]
    names = [short(label_name(name)) for name in classes]
    figure.legend(marks, names, loc="outside lower center", ncols=3, fontsize=8.5, frameon=False, labelcolor=INK)
    return inline_svg(figure, "uncertainty", "True Dice of every validation case over its expected Dice")
