"""What `autoseg list` shows beside plug-ins: tables that are plug-ins of kind "listing"."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Listing:
    """A table of words; a plug-in of kind "listing" is a function without arguments that returns one.

    Attributes:
        title: above the table.
        headings: of the columns.
        rows: a cell per heading each.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def metrics() -> Listing:
    """How segmentations are scored."""
    from autoseg.metrics.table import METRICS

    rows = tuple(
        (metric.name, metric.title, metric.unit, metric.best, metric.definition, metric.source)
        for metric in METRICS.values()
    )
    return Listing("metrics", ("name", "title", "unit", "better", "definition", "source"), rows)


def settings() -> Listing:
    """Keys for --set."""
    from autoseg.pipeline.settings import describe_settings

    title = "settings, for --set KEY=VALUE or the tables of --config FILE"
    return Listing(title, ("key", "values", "default", "meaning"), tuple(describe_settings()))
