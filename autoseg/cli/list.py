"""`autoseg list`: the plug-ins of a kind with a line about each, and the tables of kind "listing"."""

from __future__ import annotations

from typing import Annotated

import typer

from autoseg import plugins
from autoseg.cli.descriptions import describe
from autoseg.log import plural


def _kinds() -> dict[str, str]:
    """What can be listed but for tables -> the kind of plug-in: the plural, in one word."""
    kinds = {plural(kind).replace(" ", "-"): kind for kind in plugins.BUILT_IN}
    tables = plugins.names("listing")
    return {word: kind for word, kind in kinds.items() if word not in tables}


def _help() -> str:
    """The kinds of plug-ins and the tables, each of these with what is in it."""
    tables = (f"{name} ({line[:1].lower()}{line[1:]})" if line else name for name, line in describe("listing").items())
    return f"{', '.join((*_kinds(), *tables))}."


def list_names(kind: Annotated[str, typer.Argument(metavar="KIND", help=_help())]) -> None:
    """Print plug-ins, metrics, settings or challenges.

    Kinds may be given in the singular too.
    """
    listings = plugins.names("listing")
    name = next((listing for listing in (kind, plural(kind)) if listing in listings), None)
    if name is not None:  # also where it is about plug-ins, of which the table says more
        _show_listing(name)
        return
    kinds = {
        **_kinds(),
        **{kind_name: kind_name for kind_name in plugins.BUILT_IN},
        **{plural(kind_name): kind_name for kind_name in plugins.BUILT_IN},
    }
    kinds |= {kind_name.replace(" ", "-"): kind_name for kind_name in plugins.BUILT_IN}
    if kind not in kinds:
        from autoseg.records import unknown_name

        raise unknown_name("kind", kind, (*_kinds(), *listings))
    _show_plugins(kinds[kind])


def _show_plugins(kind: str) -> None:
    lines = describe(kind)
    if not lines:
        typer.echo(f"there is no {kind} yet: a package or a file of --plugin adds one", err=True)
    wide = max((len(name) for name in lines), default=0)
    for name, line in sorted(lines.items()):
        typer.echo(f"{name:<{wide}}  {line}".rstrip())


def _show_listing(name: str) -> None:
    from autoseg.cli.tables import show

    listing = plugins.resolve("listing", name)()
    show(listing.title, listing.headings, listing.rows, words=True)
