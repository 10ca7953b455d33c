"""`autoseg list`: names of the plug-ins of a kind."""

from __future__ import annotations

from typing import Annotated

import typer


def list_names(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="planner, trainer, network, loss, sampler, ...")],
) -> None:
    """Print the plug-ins of a kind, one a line."""
    from autoseg import plugins

    for name in plugins.names(kind):
        typer.echo(name)
