"""Programs run beside each other: wall-clock time and peak memory of a whole process tree."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.peer.records import Row

ROOT = Path(__file__).resolve().parent.parent.parent
_SAMPLE_SECONDS = 0.05
_LOOKING_SHARE = 0.03
"""Looking at a process of many gigabytes takes long; it may take this share of one core."""
_TAIL = 3000

Result = TypeVar("Result")


@dataclass(frozen=True)
class Finished:
    """A program that ended well.

    Attributes:
        seconds: wall clock, start-up included.
        peak_mb: largest sum of the resident memory of the program and all its children, pages that several of
            them share counted once (proportional set size), looked at up to twenty times a second.
        output: its standard output.
    """

    seconds: float
    peak_mb: float
    output: str

    def answer(self) -> Any:
        """The last line of the output as JSON."""
        return json.loads(self.output.strip().splitlines()[-1])


class ProgramFailed(RuntimeError):
    """A program of either side ended with an error; the message has the end of what it wrote."""


def run(
    command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, timeout: float | None = None
) -> Finished:
    """Runs a program in the repository's root and waits for it.

    Args:
        command: program and arguments.
        env: additions to this process's environment.
        timeout: seconds after which the program and its children are killed.

    Raises:
        ProgramFailed: it ended with another exit code than 0, or too late.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            words, cwd=ROOT, env={**os.environ, **(env or {})}, stdout=output, stderr=errors, start_new_session=True
        )
        watch = _MemoryWatch(process.pid)
        try:
            code: int | str = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = f"more than {timeout:.0f} s"
        finally:
            seconds = time.perf_counter() - start
            peak = watch.stop()
            _kill_group(process)
        output.seek(0)
        errors.seek(0)
        text, complaint = output.read(), errors.read()
    if code != 0:
        raise ProgramFailed(f"{' '.join(words)}\nended with {code}:\n{text[-_TAIL:]}\n{complaint[-_TAIL:]}")
    return Finished(seconds, peak, text)


def alternate(
    ours: Callable[[], Result], peer: Callable[[], Result], repeats: int
) -> tuple[list[Result], list[Result]]:
    """Both in turns, so that a slow minute of the machine falls on both; who is first changes each time."""
    results: tuple[list[Result], list[Result]] = ([], [])
    sides = (ours, peer)
    for repeat in range(repeats):
        for which in (0, 1) if repeat % 2 == 0 else (1, 0):
            results[which].append(sides[which]())
    return results


def with_programs(row: Row, ours: Sequence[Finished], peer: Sequence[Finished]) -> Row:
    """The row with seconds and peak memory of programs that ran in turns."""
    return row.model_copy(
        update={
            "ours": tuple(run.seconds for run in ours),
            "peer": tuple(run.seconds for run in peer),
            "ours_peak_mb": max((run.peak_mb for run in ours), default=None),
            "peer_peak_mb": max((run.peak_mb for run in peer), default=None),
        }
    )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Whatever the program left running ends with it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


class _MemoryWatch:
    """Looks at the memory of a session's processes until it is stopped."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._peak_kb = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        self._stop.set()
        self._thread.join()
        return self._peak_kb / 1024

    def _run(self) -> None:
        while not self._stop.is_set():
            start = time.thread_time()
            self._peak_kb = max(self._peak_kb, sum(_memory_kb(pid) for pid in self._processes()))
            self._stop.wait(max(_SAMPLE_SECONDS, (time.thread_time() - start) / _LOOKING_SHARE))

    def _processes(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if os.getsid(int(entry.name)) == self._session:
                        found.append(int(entry.name))
                except ProcessLookupError:
                    continue
        return found


def _memory_kb(pid: int) -> int:
    """0 for a process that ended while it was looked at."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
