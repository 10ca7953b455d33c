"""`autoseg list`: names of the plug-ins of a kind, the settings, and the published challenges."""

from __future__ import annotations

from typing import Annotated

import typer


def list_names(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="planner, trainer, network, loss, sampler, transform, augmentation, normalization, settings (keys "
            "for --set), or specs (published challenges).",
        ),
    ],
) -> None:
    """Print the plug-ins of a kind, settings or challenges."""
    if kind == "settings":
        from autoseg.cli.tables import show
        from autoseg.pipeline.settings import describe_settings

        headings = ("key", "values", "default", "meaning")
        show("settings, for --set KEY=VALUE or the tables of --config FILE", headings, describe_settings(), words=True)
        return
    if kind == "specs":
        from autoseg.benchmark.catalogue import entries
        from autoseg.cli.tables import show

        rows = [(one.name, one.images, str(one.results), one.title) for one in entries()]
        headings = ("name", "training images", "results", "challenge")
        show("published challenges", headings, rows, words=True)
        return
    from autoseg import plugins

    for name in plugins.names(kind):
        typer.echo(name)
