"""Sections of a run's page that come from elsewhere: plug-ins of kind "report section"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from markupsafe import Markup

from autoseg import plugins
from autoseg.log import logger
from autoseg.report.gather import RunRecords

Part = Literal["headline", "results", "uncertainty", "overlays", "data", "plan", "training", "machine"]
"""The page's own sections, in their order."""


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        anchor: its HTML identifier, unique on the page.
        title: of the link to it, at the top of the page.
        html: a whole `<section id=ANCHOR>` element; `autoseg.report.page.render_template` makes one that escapes what
            it shows.
        after: the page's own section that it follows; of several after the same one, the names of the plug-ins decide.
        instead_of: sections of the page itself that say nothing about this run and are left out.
    """

    anchor: str
    title: str
    html: Markup
    after: Part = "results"
    instead_of: tuple[Part, ...] = ()


class SectionMaker(Protocol):
    """A plug-in of kind "report section"."""

    def __call__(self, records: RunRecords, /) -> Section | None:
        """The section for what a run folder holds; None for a run that it has nothing to say about."""
        ...


def sections(records: RunRecords) -> tuple[Section, ...]:
    """What all plug-ins have to say about a run, in the order of their names."""
    made: list[Section] = []
    for name in plugins.names("report section"):
        try:
            section = _maker(name)(records)
        except Exception as error:
            if name in plugins.BUILT_IN["report section"]:
                raise
            logger.warning("the report section %s is left out: %s: %s", name, type(error).__name__, error)
            continue
        if section is not None:
            made.append(section)
    return tuple(made)


def check_sections() -> None:
    """Refuses third parties' sections that cannot be called, before the work that they would be about.

    Raises:
        PluginError: one that cannot be imported or called.
    """
    for name in plugins.names("report section"):
        if name not in plugins.BUILT_IN["report section"]:
            _maker(name)


def _maker(name: str) -> SectionMaker:
    maker: SectionMaker = plugins.resolve("report section", name)
    return maker
