"""Rows of points with a box over them: how a quantity is distributed over the cases, for each of several groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autoseg.report.metrics import short
from autoseg.report.theme import new_figure
from autoseg.training.curves import GRID, INK, MUTED, plain_axes

_BOX_FROM = 5
"""Quartiles of fewer values would pretend to know more than the points do."""


@dataclass(frozen=True)
class Group:
    """A name beside the plot, with values, shape (n,), and a colour for each of the things compared; n may be 0."""

    name: str
    rows: tuple[tuple[np.ndarray, str], ...]


def strips(title: str, groups: Sequence[Group]) -> tuple[Figure, Axes]:
    """A figure with a row for each values of each group, first on top; a row without values says so.

    Boxes span the quartiles with the median as a bar; whiskers reach the furthest value within 1.5 times the
    quartiles' distance (Tukey).
    """
    several = max(len(group.rows) for group in groups)
    height = 0.44 * len(groups) ** 0.95 if several == 1 else (0.3 * several + 0.12) * len(groups)
    figure = new_figure(5.4, 0.95 + height)
    axes = plain_axes(figure.subplots(), title)
    level, middles = 0.0, []
    for group in groups:
        for offset, (values, colour) in enumerate(group.rows):
            _row(axes, level + offset, values, colour)
        middles.append(level + (len(group.rows) - 1) / 2)
        level += len(group.rows) + (0.4 if several > 1 else 0.0)
    axes.set_yticks(middles, [short(group.name) for group in groups], color=INK)
    axes.set_ylim(level - (0.8 if several > 1 else 0.4), -0.6)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=GRID, linewidth=0.6)
    return figure, axes


def _row(axes: Axes, row: float, values: np.ndarray, colour: str) -> None:
    if not values.size:
        transform = axes.get_yaxis_transform()
        axes.text(0.01, row, "no case has a value", color=MUTED, fontsize=8.5, va="center", transform=transform)
        return
    # Multiples of the golden ratio spread the points evenly without a random generator.
    height = row + ((np.arange(values.size) * 0.618034) % 1 - 0.5) * 0.5
    area = float(np.clip(400 / values.size, 6, 26))
    axes.scatter(values, height, s=area, color=colour, alpha=0.55, linewidths=0, zorder=2)
    if values.size < _BOX_FROM:
        return
    line = {"color": INK, "linewidth": 1.0}
    axes.boxplot(
        values,
        positions=[row],
        orientation="horizontal",
        widths=0.62,
        showfliers=False,
        manage_ticks=False,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops={"color": INK, "linewidth": 2.0},
    )
