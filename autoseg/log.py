"""Messages and progress: `logging` for words, bars with ETA on a terminal and plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")
logger = logging.getLogger("autoseg")

_PLAIN_INTERVAL = 10.0  # seconds between two plain progress lines


def configure(run_log: str | Path | None = None, *, verbose: bool = False, quiet: bool = False) -> None:
    """Sends messages to standard error and, if given, to a run's log file (appended); quiet keeps errors alone.

    Called by the command line only; a program that uses the library keeps its own logging.
    """
    logger.setLevel(logging.DEBUG)
    if not any(getattr(handler, "autoseg_console", False) for handler in logger.handlers):
        console = logging.StreamHandler(sys.stderr)
        console.setLevel(logging.DEBUG if verbose else logging.INFO)
        console.setFormatter(logging.Formatter("%(message)s"))
        console.autoseg_console = True  # type: ignore[attr-defined]
        logger.addHandler(console)
    if quiet:
        for handler in logger.handlers:
            handler.setLevel(logging.ERROR)
    if run_log is not None and not _writes_to(run_log):
        Path(run_log).parent.mkdir(parents=True, exist_ok=True)
        to_file = logging.FileHandler(run_log, encoding="utf-8")
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(to_file)
    logger.propagate = False


def duration(seconds: float) -> str:
    """A time span in words short enough for a progress line: `8s`, `3m05s`, `2h07m`."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"


def plural(noun: str) -> str:
    """The regular plural of an English noun: `cases`, `losses`, `similarities`."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is one: `1 case`, `2 cases`."""
    return f"{number} {noun if number == 1 else plural(noun)}"


class Progress:
    """Counts finished items of a known total and shows rate and ETA.

    On a terminal a bar is redrawn; elsewhere a plain line is logged every ten seconds and at the end of
    anything that took longer than that. Use as a context manager; `advance` after each item.

    Args:
        title: of the work.
        total: items of the whole work.
        done: items that were finished before.
        started: when the first of them was begun (`time.monotonic`); None is now.
    """

    def __init__(self, title: str, total: int, *, done: int = 0, started: float | None = None) -> None:
        self.title, self.total, self.done = title, total, done
        self._bar: Any = None
        self._last = time.monotonic()
        self._start = self._last if started is None else started

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("eta"),
                TimeRemainingColumn(),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, completed=self.done)
        return self

    def advance(self, count: int = 1) -> None:
        """Reports `count` more finished items."""
        self.done += count
        if self._bar is not None:
            self._bar.advance(self._task, count)
            return
        now = time.monotonic()
        if now - self._last >= _PLAIN_INTERVAL and self.done < self.total:
            self._last = now
            left = (now - self._start) / self.done * (self.total - self.done)
            logger.info("%s: %d/%d, eta %s", self.title, self.done, self.total, duration(left))

    def __exit__(self, kind: object, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is None:
            logger.info("%s: %d in %s", self.title, self.done, duration(time.monotonic() - self._start))


def progress(items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
    """Yields the items while showing how many of `total` are done."""
    with Progress(title, total) as bar:
        for item in items:
            yield item
            bar.advance()


def _writes_to(path: str | Path) -> bool:
    target = str(Path(path).resolve())
    return any(getattr(handler, "baseFilename", None) == target for handler in logger.handlers)
