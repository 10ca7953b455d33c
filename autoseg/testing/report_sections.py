"""The contract of sections of a run's page."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

from markupsafe import Markup

from autoseg.report.build import render
from autoseg.report.gather import RunRecords, gather
from autoseg.report.section import Part, Section
from autoseg.testing.runs import HOSTILE, finished_run, renamed
from autoseg.testing.subject import Subject
from autoseg.workspace import Run

_EMPTY_ELEMENTS = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
_NAME = "<b>data</b> & co"
_REFERENCE = re.compile(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", flags=re.IGNORECASE)


def check_report_section(subject: Subject, *, run: Path | None = None) -> None:
    """A section keeps these promises, for a run folder that is empty, one that is begun and one that is finished.

    - From `RunRecords` it gives a `Section`, or None for a run that it has nothing to say about; nothing that a run
      lacks is an error, and the run folder stays as it is.
    - Its HTML is one whole `<section id=ANCHOR>` element in which every element is closed, with identifiers of its own.
    - Names that come from the data are escaped, and nothing is fetched from elsewhere.
    - The page shows it, after a part that there is.

    Args:
        subject: the plug-in.
        run: a finished run folder to look at beside those that are made here, for sections about other tasks.
    """
    with tempfile.TemporaryDirectory() as folder:
        for records in _runs(Path(folder), run):
            before = _listed(records.run)
            section = subject.plugin(records)
            subject.promise(_listed(records.run) == before, "a run folder that stays as it is")
            if section is not None:
                _check_section(subject, section, records)


def _runs(folder: Path, other: Path | None) -> Iterator[RunRecords]:
    """What is looked at, from nothing to everything."""
    (folder / "empty").mkdir()
    yield gather(Run(folder / "empty"))
    finished = finished_run(folder)
    renamed(finished, _NAME)
    records = gather(finished)
    yield replace(records, folds={}, dataset=None, provenance=None, postprocessing=None)
    yield replace(records, dataset=None, fingerprint=None)
    yield records
    if other is not None:
        yield gather(Run(other))


def _listed(run: Run) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in run.root.rglob("*") if path.is_file())


def _check_section(subject: Subject, section: Section, records: RunRecords) -> None:
    subject.promise(isinstance(section, Section), "a Section or None", type(section).__name__)
    subject.promise(isinstance(section.html, Markup), "html that is markupsafe.Markup", type(section.html).__name__)
    subject.promise(bool(section.title and section.anchor), "a title and an anchor", section.title)
    parts = get_args(Part)
    known = section.after in parts and set(section.instead_of) <= set(parts)
    subject.promise(known, f"parts of the page: {', '.join(parts)}", (section.after, section.instead_of))
    html = _Html()
    html.feed(section.html)
    html.close()
    subject.promise(not html.faults and not html.open, "elements that are all closed", html.faults or html.open)
    whole = html.roots == ["section"] and html.identifiers[:1] == [section.anchor]
    subject.promise(whole, f'one element <section id="{section.anchor}">', f"{html.roots}, ids {html.identifiers}")
    repeated = {name for name in html.identifiers if html.identifiers.count(name) > 1}
    subject.promise(not repeated, "identifiers that occur once", ", ".join(repeated))
    for name in (HOSTILE, _NAME):
        subject.promise(name not in section.html, "names of labels and data sets that are escaped", name)
    subject.promise(_REFERENCE.search(section.html) is None, "nothing that is fetched from elsewhere")
    page = render(records)
    count = page.count(f'id="{section.anchor}"')
    subject.promise(str(section.html) in page and count == 1, "one place of its own on the page", f"{count} places")


class _Html(HTMLParser):
    """Elements of a text: those at its top, identifiers, and what is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.roots: list[str] = []
        self.identifiers: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.identifiers += [value or "" for name, value in attrs if name == "id"]
        if not self.open:
            self.roots.append(tag)
        if tag not in _EMPTY_ELEMENTS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.identifiers += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag not in _EMPTY_ELEMENTS:
            self.faults.append(f"</{tag}> where {self.open[-1:] or 'nothing'} is open")

    def handle_data(self, data: str) -> None:
        if data.strip() and not self.open:
            self.roots.append("text")
