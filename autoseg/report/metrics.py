"""How metrics are chosen, ordered and rounded in the report."""

from __future__ import annotations

from collections.abc import Iterable

from autoseg.metrics.table import METRICS, Metric

LEADING = ("dice", "hd95", "assd", "nsd")
"""What a reader looks at first; the rest follow in the order of the table of metrics."""


def shown(keys: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics among the keys of a summary, in the order of reading; counts and volumes are not metrics."""
    present = set(keys)
    order = [*LEADING, *(name for name in METRICS if name not in LEADING)]
    return tuple(METRICS[name] for name in order if name in present and name in METRICS)


def heading(metric: Metric) -> str:
    """Title with unit, for a column or an axis."""
    return f"{metric.title} [{metric.unit}]" if metric.unit else metric.title


def number(value: float | None, unit: str = "") -> str:
    """A value as tables show it: three places for a ratio, two for a length, a dash where none exists."""
    if value is None:
        return "–"
    return f"{value:.2f}" if unit else f"{value:.3f}"


def digits(value: float | None) -> str:
    """A share with four places, where small changes matter; a dash where none exists."""
    return "–" if value is None else f"{value:.4f}"


def short(name: str, length: int = 28) -> str:
    """A name cut to fit beside a plot."""
    return name if len(name) <= length else name[: length - 1] + "…"


def label_name(label: str) -> str:
    """The name of a class; one that is called by its value alone says what the number is."""
    return f"label {label}" if label.isdecimal() else label
