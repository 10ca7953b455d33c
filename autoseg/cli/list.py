"""`autoseg list`: the plug-ins of a kind with a line about each, metrics, settings, and the published challenges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated

import typer


def list_names(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="baselines, planners, trainers, networks, losses, samplers, transforms, augmentations, "
            "normalizations, registrations, similarities, regularizers, pretrainings, metrics, settings (keys for "
            "--set), or specs (published challenges).",
        ),
    ],
) -> None:
    """Print plug-ins, metrics, settings or challenges.

    Kinds may be given in the singular too.
    """
    if kind in _TABLES:
        _TABLES[kind]()
        return
    from autoseg.cli.descriptions import describe

    lines = describe(_singular(kind))
    wide = max((len(name) for name in lines), default=0)
    for name, line in sorted(lines.items()):
        typer.echo(f"{name:<{wide}}  {line}".rstrip())


def _singular(kind: str) -> str:
    """The kind of plug-in that the plural names; another word as it is."""
    from autoseg import plugins

    plurals = {**{f"{one}s": one for one in plugins.BUILT_IN}, "losses": "loss", "similarities": "similarity"}
    return plurals.get(kind, kind)


def _show_settings() -> None:
    from autoseg.cli.tables import show
    from autoseg.pipeline.settings import describe_settings

    headings = ("key", "values", "default", "meaning")
    show("settings, for --set KEY=VALUE or the tables of --config FILE", headings, describe_settings(), words=True)


def _show_specifications() -> None:
    from autoseg.cli.tables import show
    from autoseg.studies.benchmark.catalogue import entries

    rows = [(one.name, one.images, str(one.results), one.title) for one in entries()]
    show("published challenges", ("name", "training images", "results", "challenge"), rows, words=True)


def _show_metrics() -> None:
    from autoseg.cli.tables import show
    from autoseg.metrics.table import METRICS

    rows = [(one.name, one.title, one.unit, one.best, one.definition, one.source) for one in METRICS.values()]
    show("metrics", ("name", "title", "unit", "better", "definition", "source"), rows, words=True)


_TABLES: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        **dict.fromkeys(("settings", "setting"), _show_settings),
        **dict.fromkeys(("specs", "spec"), _show_specifications),
        **dict.fromkeys(("metrics", "metric"), _show_metrics),
    }
)
