"""Learning curves: what a fold's metrics.jsonl tells, as one figure."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autoseg.records import write_bytes
from autoseg.run_state import MetricsRow, read_metrics

INK, MUTED, GRID = "#1f2933", "#6b7785", "#d9dee4"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b8860b", "#3399cc", "#7a5195", "#8c564b")
"""Colours of curves and classes; the first four are told apart by colour-blind eyes (Okabe and Ito)."""


_SMALL_MEASURES = ("deviation", "alignment")
"""Measures of embeddings that fit one axis: 0 where all images look alike."""


def learning_curves(rows: Sequence[MetricsRow], *, title: str = "") -> Figure:
    """Four panels over the optimiser steps: loss, online validation Dice, learning rate, seconds per step.

    Args:
        rows: of `read_metrics`; values that are null or absent leave a gap. No row gives empty panels.
        title: written above, for a picture that stands alone.
    """
    figure = Figure(figsize=(9.0, 5.4))
    FigureCanvasAgg(figure)
    top = 0.87 if title else 0.93
    figure.subplots_adjust(left=0.075, right=0.975, bottom=0.09, top=top, wspace=0.2, hspace=0.42)
    if title:
        figure.suptitle(title, x=0.075, y=0.975, ha="left", fontsize=11, color=INK, fontweight="bold")
    panels = figure.subplots(2, 2).ravel()
    _loss(plain_axes(panels[0], "Loss"), rows)
    if any(row.get("measures") for row in rows):
        _measures(plain_axes(panels[1], "Embeddings"), rows)
    else:
        _dice(plain_axes(panels[1], "Online validation Dice"), rows)
    _learning_rate(plain_axes(panels[2], "Learning rate"), rows)
    _time(plain_axes(panels[3], "Seconds per step"), rows)
    last = max([row["step"] for row in rows], default=1)
    for panel in panels:
        panel.set_xlim(0, max(last, 1))
        panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    for panel in panels[2:]:
        panel.set_xlabel("step", color=MUTED, fontsize=9)
    return figure


def write_progress(metrics: str | Path, picture: str | Path) -> None:
    """Draws the learning curves of a metrics.jsonl into a PNG, whole or not at all (about 0.3 s)."""
    rows = read_metrics(metrics)
    title = ""
    if rows:
        title = f"step {rows[-1]['step']} of {rows[-1].get('steps', '?')}"
    content = io.BytesIO()
    learning_curves(rows, title=title).savefig(content, format="png", dpi=100)
    write_bytes(picture, content.getvalue())


def plain_axes(axes: Axes, title: str = "") -> Axes:
    """The project's look of a plot: no box, a light grid across, a title on the left."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=8.5, length=3)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=10, color=INK, pad=7)
    return axes


def plain_legend(axes: Axes, **options: Any) -> None:
    """A legend without a frame, for more than one named artist."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        settings: dict[str, Any] = {"loc": "best", "fontsize": 8.5, "frameon": False, "labelcolor": INK}
        axes.legend(handles, names, **{**settings, **options})


def _draw(
    axes: Axes, rows: Sequence[MetricsRow], value: Callable[[MetricsRow], float | None], color: str, **style: Any
) -> None:
    points = [(row["step"], number) for row in rows if (number := value(row)) is not None]
    if points:
        steps, numbers = zip(*points, strict=True)
        marker = "o" if len(points) == 1 else None  # a line through one point cannot be seen
        axes.plot(steps, numbers, color=color, marker=marker, markersize=3, **style)


def _loss(axes: Axes, rows: Sequence[MetricsRow]) -> None:
    _draw(axes, rows, lambda row: row.get("loss"), SERIES[0], label="training", linewidth=1.4)
    _draw(axes, rows, lambda row: row.get("validation_loss"), SERIES[1], label="validation", linewidth=1.4)
    plain_legend(axes)


def _dice(axes: Axes, rows: Sequence[MetricsRow]) -> None:
    labels = list(dict.fromkeys(label for row in rows for label in row.get("validation_dice") or {}))
    for index, label in enumerate(labels):
        color = SERIES[(index + 1) % len(SERIES)]
        name = label if len(labels) <= 6 else None  # a longer legend would cover the curves
        _draw(axes, rows, partial(_class_dice, label), color, label=name)
    if len(labels) != 1:
        _draw(axes, rows, lambda row: row.get("validation_foreground_dice"), INK, label="mean", linewidth=2)
    axes.set_ylim(0, 1)
    plain_legend(axes, loc="lower right")


def _measures(axes: Axes, rows: Sequence[MetricsRow]) -> None:
    names = dict.fromkeys(name for row in rows for name in row.get("measures") or {})
    shown = [name for name in names if name in _SMALL_MEASURES]
    for name, color in zip(shown, SERIES, strict=False):
        _draw(axes, rows, partial(_measure, name), color, label=name, linewidth=1.4)
    axes.set_ylim(bottom=0)
    plain_legend(axes)


def _measure(name: str, row: MetricsRow) -> float | None:
    return (row.get("measures") or {}).get(name)


def _class_dice(label: str, row: MetricsRow) -> float | None:
    return (row.get("validation_dice") or {}).get(label)


def _learning_rate(axes: Axes, rows: Sequence[MetricsRow]) -> None:
    _draw(axes, rows, lambda row: row.get("learning_rate"), SERIES[2], linewidth=1.4)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _time(axes: Axes, rows: Sequence[MetricsRow]) -> None:
    def waiting(row: MetricsRow) -> float | None:
        seconds, share = row.get("step_seconds"), row.get("waiting_for_data")
        return None if seconds is None or share is None else seconds * share

    _draw(axes, rows, lambda row: row.get("step_seconds"), SERIES[0], label="whole step", linewidth=1.4)
    _draw(axes, rows, waiting, SERIES[1], label="waiting for data", linewidth=1.4)
    axes.set_ylim(bottom=0)
    plain_legend(axes)
