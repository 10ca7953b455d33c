"""A comparison of methods as a page of its own: one HTML file without any reference to the outside."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from autoseg.records import write_text
from autoseg.report.page import page_asset, page_environment
from autoseg.studies.comparison.report.figures import boxes, forest, ranks
from autoseg.studies.comparison.report.tables import class_name, comparison_tables, pairs_with
from autoseg.studies.comparison.statistics.method_comparison import MethodComparison
from autoseg.version import VERSION

_MOST_LABELS = 6
"""Up to this many labels have figures of their own beside the one of their mean."""


@dataclass(frozen=True)
class ComparisonFigures:
    """The figures of the page, those of the main label first.

    Attributes:
        boxes: scores case by case, of Dice for each label and of the distances for the main one.
        stability: places in resamples.
        forests: differences with their intervals.
    """

    boxes: tuple[Markup, ...]
    stability: tuple[Markup, ...]
    forests: tuple[Markup, ...]


def write_comparison_report(comparison: MethodComparison, path: Path) -> None:
    """Writes the page, whole or not at all; it needs no network and no other file."""
    write_text(path, render_comparison(comparison))


def render_comparison(comparison: MethodComparison) -> str:
    """The page as HTML."""
    page = page_environment("autoseg.studies.comparison.report").get_template("comparison.html.jinja")
    return page.render(
        comparison=comparison,
        tables=comparison_tables(comparison),
        figures=comparison_figures(comparison),
        alpha=round(1 - comparison.comparison.level, 10),
        class_name=class_name,
        command=shlex.join(comparison.command),
        version=VERSION,
        style=page_asset("report.css"),
        script=page_asset("report.js"),
    )


def comparison_figures(comparison: MethodComparison) -> ComparisonFigures:
    """The figures of a comparison; a label without any value has none, and a single method only its scores."""
    analysis = comparison.comparison
    own = tuple(label for label in analysis.labels if label != comparison.main)
    labels = (comparison.main, *own) if len(own) <= _MOST_LABELS else (comparison.main,)
    columns = {(column.metric, column.label): column for column in comparison.scores}
    keys = [*(("dice", label) for label in labels), ("hd95", comparison.main)]
    alpha = round(1 - analysis.level, 10)
    base = analysis.reference or comparison.order[0]
    return ComparisonFigures(
        boxes=_drawn(
            boxes(columns[key], comparison.order, marked=analysis.reference) for key in keys if key in columns
        ),
        stability=_drawn(ranks(comparison.ranking("dice", label), comparison.order) for label in labels),
        forests=_drawn(forest(pairs_with(base, comparison, "dice", label), base, alpha=alpha) for label in labels),
    )


def _drawn(pictures: Iterable[Markup | None]) -> tuple[Markup, ...]:
    return tuple(picture for picture in pictures if picture is not None)
