"""Figures of a comparison: scores case by case, how stable the ranks are, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from autoseg.metrics.table import METRICS
from autoseg.report.metrics import heading, short
from autoseg.report.strips import Group, strips
from autoseg.report.theme import inline_svg, new_figure
from autoseg.studies.comparison.report.tables import class_name, from_side_of
from autoseg.studies.comparison.statistics.comparison import PairedDifference, Ranking
from autoseg.studies.comparison.statistics.method_comparison import ScoreColumn
from autoseg.training.curves import GRID, INK, MUTED, SERIES, plain_axes

_LARGEST = 340.0
"""Area in square points of the mark of a place that a method has in every resample."""


def boxes(column: ScoreColumn, order: Sequence[str], *, marked: str | None = None) -> Markup | None:
    """Every case as a point and a box over them, a row per method; None if no case has a value.

    Args:
        order: methods from top to bottom.
        marked: the method that is shown in a colour of its own.
    """
    if not column.cases:
        return None
    metric = METRICS[column.metric]
    groups = [
        Group(name, ((np.array(column.values[name], dtype=float), SERIES[1] if name == marked else SERIES[0]),))
        for name in order
    ]
    title = f"{heading(metric)}, {class_name(column.label)}"
    figure, axes = strips(title, groups)
    lowest = min(min(values) for values in column.values.values())
    if metric.range[1] == 1.0:
        axes.set_xlim(max(lowest - 0.05, -0.01), 1.01)
    else:
        axes.set_xlim(left=0)
    return inline_svg(figure, f"boxes-{column.metric}-{column.label}", f"{title}: a row of points per method")


def ranks(ranking: Ranking, order: Sequence[str]) -> Markup | None:
    """How often each method has each place when cases are drawn anew, as areas; None for fewer than two methods.

    Source: the blob plots of Wiesenfarth et al. 2021, Scientific Reports 11:2369.
    """
    if len(ranking.shares) < 2:
        return None
    count = len(order)
    figure = new_figure(5.4, 1.1 + 0.34 * count)
    axes = plain_axes(figure.subplots(), f"Places when cases are drawn anew, {class_name(ranking.label)}")
    places = np.arange(1, count + 1)
    for row, name in enumerate(order):
        shares = np.array(ranking.shares[name])
        axes.scatter(places, np.full(count, row), s=_LARGEST * shares, color=SERIES[0], alpha=0.75, linewidths=0)
        axes.plot(ranking.mean_rank[name], row, marker="|", color=INK, markersize=11, markeredgewidth=1.6)
    axes.set_yticks(range(count), [short(name) for name in order], color=INK)
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_xticks(places)
    axes.set_xlim(0.4, count + 0.6)
    axes.set_xlabel("place; the bar is the mean rank over the cases", color=MUTED, fontsize=9)
    axes.grid(visible=True, axis="x", color=GRID, linewidth=0.6)
    what = f"Share of resamples in which each method has each place, {ranking.label}"
    return inline_svg(figure, f"ranks-{ranking.label}", what)


def forest(rows: Mapping[str, PairedDifference], base: str, *, alpha: float) -> Markup | None:
    """Mean differences from one method with their intervals, a row for each of the others; None without any.

    Args:
        rows: other method -> its pair with the base.
        base: the method that the others are subtracted from.
        alpha: level of significance; differences that the corrected test shows are filled.
    """
    drawn = {name: difference for name, difference in rows.items() if difference.mean is not None}
    if not drawn:
        return None
    first = next(iter(drawn.values()))
    metric = METRICS[first.metric]
    figure = new_figure(5.4, 1.15 + 0.32 * len(drawn))
    axes = plain_axes(figure.subplots(), f"{base} minus the others: {heading(metric)}, {class_name(first.label)}")
    axes.axvline(0, color=MUTED, linewidth=1.0)
    for row, difference in enumerate(drawn.values()):
        mean, interval = from_side_of(base, difference)
        assert mean is not None
        if interval is not None:
            axes.plot(interval, (row, row), color=SERIES[0], linewidth=1.8, solid_capstyle="butt")
        filled = difference.better(alpha) is not None
        face = SERIES[0] if filled else "none"
        axes.plot(mean, row, marker="o", markersize=6.5, markerfacecolor=face, markeredgecolor=SERIES[0])
    axes.set_yticks(range(len(drawn)), [short(name) for name in drawn], color=INK)
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    better = "to the right" if metric.best == "higher" else "to the left"
    axes.set_xlabel(f"{base} is better {better} of zero", color=MUTED, fontsize=9)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=GRID, linewidth=0.6)
    what = f"Mean differences in {metric.title} between {base} and each other method, with intervals"
    return inline_svg(figure, f"forest-{first.metric}-{first.label}", what)
