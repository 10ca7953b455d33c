"""Work spread over processes: results as they come, and a dead worker is an error, never a wait without end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

from autoseg.errors import AutosegError
from autoseg.log import Progress
from autoseg.plugins import load_file, registering_files

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may use (a container or `taskset` may allow fewer than the machine has)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def unordered(
    function: Callable[[Item], Result], items: Iterable[Item], title: str, *, workers: int, patience: float = 0.0
) -> Iterator[Result]:
    """Yields `function(item)` of all items in the order in which they finish, with a progress line.

    Args:
        function: a picklable function of one argument; what it raises is raised here, with the worker's traceback
            as its cause, and the items not yet begun are dropped.
        workers: processes; up to 1 means this process.
        patience: seconds of work in this process before any is started, for work that is mostly short. The progress
            counts these items too; work that is done by then is not worth a line.

    Raises:
        AutosegError: a worker was killed (out of memory, a signal).
    """
    items = list(items)
    total, started, done = len(items), time.monotonic(), 0
    if workers > 1 and patience > 0:
        while done < total and time.monotonic() - started < patience:
            yield function(items[done])
            done += 1
        items = items[done:]
        if not items:
            return
    workers = min(workers, len(items))
    if workers <= 1:
        with Progress(title, total, done=done, started=started) as bar:
            for item in items:
                yield function(item)
                bar.advance()
        return
    # the workers start before the progress bar: its thread must not be there when the process forks
    context = _context()
    files = () if context.get_start_method() == "fork" else registering_files()  # a fork has what they registered
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(files,))
    try:
        futures = [executor.submit(function, item) for item in items]
        with Progress(title, total, done=done, started=started) as bar:
            for future in as_completed(futures):
                yield future.result()
                bar.advance()
    except BrokenProcessPool:
        raise AutosegError(
            "a worker process was killed",
            where=title,
            remedy="it probably ran out of memory: use fewer workers (--workers 1 needs the least)",
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _context() -> multiprocessing.context.BaseContext:
    """Fork where that is safe: it starts at once, but a process with threads (torch, a bar) may not be copied."""
    safe = sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules
    return multiprocessing.get_context("fork" if safe else "spawn")


def _start_worker(files: tuple[Path, ...]) -> None:
    """Leaves Ctrl-C to the parent, which drops what is not begun, and keeps libraries to one thread a worker.

    Args:
        files: whose plug-ins the worker registers before it begins.
    """
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    for file in files:
        load_file(file)
