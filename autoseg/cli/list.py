"""`autoseg list`: names of the plug-ins of a kind, and the settings."""

from __future__ import annotations

from typing import Annotated

import typer


def list_names(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="planner, trainer, network, loss, sampler, transform, augmentation, normalization, or settings (keys "
            "for --set).",
        ),
    ],
) -> None:
    """Print the plug-ins of a kind, or all settings."""
    if kind == "settings":
        from autoseg.cli.tables import show
        from autoseg.pipeline.settings import describe_settings

        headings = ("key", "values", "default", "meaning")
        show("settings, for --set KEY=VALUE or the tables of --config FILE", headings, describe_settings(), words=True)
        return
    from autoseg import plugins

    for name in plugins.names(kind):
        typer.echo(name)
