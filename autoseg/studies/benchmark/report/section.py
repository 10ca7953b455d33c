"""Published beside reproduced, for a run that reruns a published benchmark (`autoseg reproduce`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoseg.metrics.table import METRICS, Metric
from autoseg.report.gather import RunRecords
from autoseg.report.metrics import label_name
from autoseg.report.page import render_template
from autoseg.report.section import Section


@dataclass(frozen=True)
class ReproductionTable:
    """One metric of the comparison.

    Attributes:
        metric: a row of the table of metrics.
        published_on: which folds the published values are of, in words.
        rows: name, published and reproduced mean, 95 % interval (None without one) and cases of each label and their
            mean, which is last.
        folds: name, published and reproduced mean, and cases of each fold.
    """

    metric: Metric
    published_on: str
    rows: tuple[tuple[str, float | None, float | None, tuple[float, float] | None, int], ...]
    folds: tuple[tuple[str, float | None, float | None, int], ...]


@dataclass(frozen=True)
class ReproductionSection:
    """The section of the page.

    Attributes:
        title: of the challenge.
        verdict: in words.
        trained: what was trained, in words.
        published: what it is compared with and where that was read, in words; None if nothing was published.
        note: what else is to be known of the published result.
        differences: between the data and the published ones, in sentences.
    """

    title: str
    verdict: str
    trained: str
    published: str | None
    note: str | None
    differences: tuple[str, ...]
    tables: tuple[ReproductionTable, ...]


def reproduction_section(records: RunRecords) -> Section | None:
    """Published numbers beside the reproduced ones; nothing of runs without any."""
    content = reproduction(records)
    if content is None:
        return None
    html = render_template("autoseg.studies.benchmark.report", "reproduction.html.jinja", reproduction=content)
    return Section("reproduction", "Published", html, after="headline")


def reproduction(records: RunRecords) -> ReproductionSection | None:
    """The section of a run; None if it reruns no published benchmark."""
    content = records.reproduction
    if content is None:
        return None
    published, source = content["published"] or {}, content["source"] or {}
    steps = "" if content["steps"] is None else f", {content['steps']} steps"
    return ReproductionSection(
        title=content["title"],
        verdict=content["verdict"]["text"],
        trained=(
            f"{content['configuration']}, planned by {content['planner']}{steps}, "
            f"fold{'' if len(content['folds']) == 1 else 's'} {', '.join(content['folds'])} of {content['of_folds']}"
        ),
        published=_origin(published, source) if published else None,
        note=published.get("note"),
        differences=tuple(content["differences"]),
        tables=tuple(_table(comparison) for comparison in content["comparisons"] if comparison["metric"] in METRICS),
    )


def _origin(published: Mapping[str, Any], source: Mapping[str, Any]) -> str:
    address = source.get("url") or f"https://doi.org/{source.get('doi')}"
    parts = (source.get("title"), published.get("place"), address)
    return f"{published['method']}; {', '.join(part for part in parts if part)}"


def _table(content: Mapping[str, Any]) -> ReproductionTable:
    return ReproductionTable(
        metric=METRICS[content["metric"]],
        published_on=content["published_on"],
        rows=tuple(
            (label_name(row["name"]), row["published"], row["reproduced"], _ends(row["interval"]), row["cases"])
            for row in (*content["labels"], content["mean"])
        ),
        folds=tuple((row["name"], row["published"], row["reproduced"], row["cases"]) for row in content["folds"]),
    )


def _ends(interval: Mapping[str, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (interval["low"], interval["high"])
