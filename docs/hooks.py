"""What pages get when the site is built, the command line's own words, and a look at what a browser would fetch.

A page asks for generated text by a line `<!-- generated: NAME -->`, NAME being a key of `GENERATED`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import click
from mkdocs.exceptions import PluginError

_MARKER = re.compile(r"^<!-- generated: (\S+) -->$", flags=re.MULTILINE)
_FETCHED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Puts generated text where a page asks for it."""

    def generated(found: re.Match[str]) -> str:
        if found[1] not in GENERATED:
            raise PluginError(f"{page.file.src_uri}: nothing is generated under the name {found[1]!r}")
        return "\n".join(GENERATED[found[1]]())

    return _MARKER.sub(generated, markdown)


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Refuses a page for which a browser would fetch something from another host: the site is read offline."""
    if fetched := _FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri}: a browser would fetch {fetched[1]}")
    return output


def _commands() -> Iterator[str]:
    """A section for each verb: what `autoseg VERB --help` prints."""
    from typer.main import get_command

    from autoseg.cli.main import app

    group = get_command(app)
    parent = click.Context(group, info_name="autoseg")  # type: ignore[arg-type]
    for name in group.list_commands(parent):  # type: ignore[attr-defined]
        command = group.get_command(parent, name)  # type: ignore[attr-defined]
        context = click.Context(command, info_name=name, parent=parent, max_content_width=96, terminal_width=96)
        yield from (f"## autoseg {name}", "", "```text", command.get_help(context), "```", "")


def _plug_ins() -> Iterator[str]:
    """A section for each kind: its plug-ins with the first line of their docstrings."""
    from autoseg import plugins
    from autoseg.cli.descriptions import describe

    for kind in plugins.BUILT_IN:
        yield from (f"## {kind[0].upper()}{kind[1:]}", "")
        lines = [(f"`{name}`", line) for name, line in sorted(describe(kind).items())]
        yield from _table(("name", "what it is"), lines) if lines else ("None is built in.", "")


def _settings() -> Iterator[str]:
    from autoseg import plugins

    listing = plugins.resolve("listing", "settings")()
    yield from _table(listing.headings, ((f"`{key}`", *others) for key, *others in listing.rows))


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    headings = tuple(headings)
    yield from _row(headings)
    yield from _row("---" for _ in headings)
    for row in rows:
        yield from _row(row)
    yield ""


def _row(cells: Iterable[str]) -> Iterator[str]:
    yield "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|").replace("*", "\\*") for cell in cells) + " |"


GENERATED: Mapping[str, Callable[[], Iterator[str]]] = MappingProxyType(
    {"commands": _commands, "plug-ins": _plug_ins, "settings": _settings}
)
