"""The contracts of what the command line shows: verbs, and tables of `autoseg list`."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from autoseg.cli.descriptions import describe
from autoseg.cli.listings import Listing
from autoseg.cli.verbs import VERBS
from autoseg.testing.subject import Subject


def check_command(subject: Subject) -> None:
    """A command keeps these promises; it is not run.

    - The first line of its docstring says what it does, for the list of verbs.
    - Its parameters can be read as options and arguments: `autoseg VERB --help` shows them with that line, and ends
      with exit code 0.
    - An option that it does not have ends it with exit code 2 before any work.
    """
    line = describe("command")[subject.name]
    subject.promise(bool(line), "a docstring whose first line says what it does")
    code, text = _called(subject.name, "--help")
    subject.promise(code == 0, "`--help` with exit code 0", f"exit code {code}: {text}")
    shown = f"Usage: autoseg {subject.name}" in text and " ".join(line.split()) in " ".join(text.split())
    subject.promise(shown, "help that begins with the docstring's first line", text)
    code, text = _called(subject.name, "--no-such-option")
    subject.promise(code == 2, "exit code 2 for an option that it does not have", f"exit code {code}")


def check_listing(subject: Subject) -> None:
    """A listing keeps these promises.

    - The first line of its docstring says what it lists.
    - Called without arguments it gives a `Listing` with a title and headings, the same each time, whose rows have a
      word or words per heading.
    """
    subject.promise(bool(describe("listing")[subject.name]), "a docstring whose first line says what it lists")
    listing = subject.plugin()
    subject.promise(isinstance(listing, Listing), "a Listing", type(listing).__name__)
    subject.promise(listing == subject.plugin(), "the same listing each time")
    subject.promise(bool(listing.title and listing.headings), "a title and headings", listing.title)
    for row in listing.rows:
        subject.promise(len(row) == len(listing.headings), f"rows of {len(listing.headings)} cells", row)
        subject.promise(all(isinstance(cell, str) for cell in row), "rows of words", row)


def _called(verb: str, *arguments: str) -> tuple[int, str]:
    """Exit code of a verb, and what it prints."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            VERBS[verb].main(args=list(arguments), prog_name=f"autoseg {verb}")
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            return code, printed.getvalue()
    return 0, printed.getvalue()
