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
    """One stage of a run and how long it took."""

    name: str
    seconds: float


class Provenance(Record):
    """What `provenance.json` holds.

    Attributes:
        command: the command line of the latest call, word for word.
        commands: all calls on this run folder, oldest first.
        started: local time of the first call, ISO 8601.
        stages: finished stages in order, over all calls.
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
    """Keeps a run's `provenance.json` up to date while the run goes on."""

    def __init__(self, path: Path, command: tuple[str, ...] = ()) -> None:
        self._path = path
        known = Provenance.from_mapping(read_mapping(path), where=path) if path.exists() else Provenance()
        self.record = known.with_(
            command=command or known.command,
            commands=(*known.commands, command) if command else known.commands,
            started=known.started or datetime.now().astimezone().isoformat(timespec="seconds"),
            versions=versions(),
            machine=machine(),
        )
        self.record.save(path)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage; one that fails or is interrupted is not recorded."""
        start = time.monotonic()
        yield
        seconds = round(time.monotonic() - start, 2)
        self.record = self.record.with_(stages=(*self.record.stages, Stage(name=name, seconds=seconds)))
        self.record.save(self._path)

    def note(self, text: str) -> None:
        """Adds a note, once."""
        if text not in self.record.notes:
            self.record = self.record.with_(notes=(*self.record.notes, text))
            self.record.save(self._path)


def versions() -> dict[str, str]:
    """Versions of this software, Python and the packages that influence results."""
    found = {"autoseg": VERSION, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


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
