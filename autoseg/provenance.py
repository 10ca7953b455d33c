"""How a run came about: commands, versions, the machine and the seconds of each stage."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from autoseg.records import Record, read_mapping
from autoseg.version import VERSION

_PACKAGES = (
    "torch", "numpy", "scipy", "scikit-image", "batchgenerators", "SimpleITK", "pandas", "blosc2",
    "connected-components-3d", "edt", "pydantic", "matplotlib",
)  # fmt: skip


class Stage(Record):
    """One stage of a run and how long it took.

    Attributes:
        finished: False if it was interrupted or failed.
        call: which of the run's commands it belongs to; a command that was resumed keeps its number.
    """

    name: str
    seconds: float
    finished: bool = True
    call: int = 0


class Provenance(Record):
    """What `provenance.json` holds.

    Attributes:
        command: the command line of the latest call, word for word.
        commands: all calls on this run folder, oldest first.
        started: local time of the first call, ISO 8601.
        stages: stages in order, over all calls.
        notes: choices that the software made for the user, in words.
    """

    command: tuple[str, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    started: str = ""
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}
    stages: tuple[Stage, ...] = ()
    notes: tuple[str, ...] = ()


class Journal:
    """Keeps a run's `provenance.json` up to date while the run goes on.

    Args:
        path: the file.
        command: the command line; empty for a call from Python.
        writes: False in a process that only follows the one that writes.
    """

    def __init__(self, path: Path, command: tuple[str, ...] = (), *, writes: bool = True) -> None:
        self._path, self._writes = path, writes
        earlier = Provenance.from_mapping(read_mapping(path), where=path) if path.exists() else Provenance()
        self.record = earlier.with_(
            command=command or earlier.command,
            commands=(*earlier.commands, command) if command else earlier.commands,
            started=earlier.started or datetime.now().astimezone().isoformat(timespec="seconds"),
            versions=versions(),
            machine=machine(),
        )
        self._save()
        self._call = _call_number(self.record.commands) if command else None

    @property
    def spent(self) -> float:
        """Seconds that earlier calls of this very command have spent on the run, `--resume` aside."""
        if self._call is None:
            return 0.0
        return sum(stage.seconds for stage in self.record.stages if stage.call == self._call)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage, also one that is interrupted or fails."""
        start, finished = time.monotonic(), False
        try:
            yield
            finished = True
        finally:
            seconds = round(time.monotonic() - start, 2)
            call = len(self.record.commands) if self._call is None else self._call
            stage = Stage(name=name, seconds=seconds, finished=finished, call=call)
            self.record = self.record.with_(stages=(*self.record.stages, stage))
            self._save()

    def note(self, text: str) -> None:
        """Adds a note, once."""
        if text not in self.record.notes:
            self.record = self.record.with_(notes=(*self.record.notes, text))
            self._save()

    def _save(self) -> None:
        if self._writes:
            self.record.save(self._path)


def _call_number(commands: tuple[tuple[str, ...], ...]) -> int:
    """Index of the first of the last commands that differ by nothing but `--resume`."""
    plain = [tuple(word for word in command if word != "--resume") for command in commands]
    number = len(plain) - 1
    while number > 0 and plain[number - 1] == plain[number]:
        number -= 1
    return number


def versions() -> dict[str, str]:
    """Versions of this software, Python and the packages that influence results."""
    by_package = {"autoseg": VERSION, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            by_package[package] = version(package)
        except PackageNotFoundError:
            by_package[package] = "not installed"
    return by_package


def machine() -> dict[str, Any]:
    """The machine in words: operating system, processor, cores, memory in GB."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    return None
