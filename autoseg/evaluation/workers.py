"""One function over many cases: here if that is quick, else in processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from autoseg.errors import AutosegError
from autoseg.log import Progress

Job = TypeVar("Job")
Result = TypeVar("Result")

_PATIENCE = 2.0  # seconds; about what starting processes costs


def map_cases(
    function: Callable[[Job], Result], jobs: Mapping[str, Job], title: str, workers: int | None = None
) -> Iterator[tuple[str, Result]]:
    """Yields (case, result) as they are finished, in no particular order, and shows progress.

    Cases are worked on in this process for two seconds; only if some are left then, processes are started for them.

    Args:
        function: importable by name; it must return, not raise, what concerns a single case.
        jobs: case id -> argument of the function.
        title: for the progress bar.
        workers: processes; one for each available core by default. With 1 none is started.

    Raises:
        AutosegError: a process died.
    """
    workers = _cores() if workers is None else workers
    waiting = dict(jobs)
    with Progress(title, len(jobs)) as bar:
        start = time.monotonic()
        for case, job in jobs.items():
            if workers > 1 and len(waiting) > 1 and time.monotonic() - start > _PATIENCE:
                break
            del waiting[case]
            yield case, function(job)
            bar.advance()
        if waiting:
            for finished in _in_processes(function, waiting, min(workers, len(waiting))):
                yield finished
                bar.advance()


def _in_processes(
    function: Callable[[Job], Result], jobs: Mapping[str, Job], workers: int
) -> Iterator[tuple[str, Result]]:
    # A fresh interpreter each: a fork would copy locks held by this process's threads (torch, ITK) and could hang.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_leave_interrupts_to_parent)
    try:
        futures = {pool.submit(function, job): case for case, job in jobs.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise AutosegError(
            "a worker process died",
            got=f"{workers} processes",
            expected="enough memory; in a script, calls below `if __name__ == '__main__':`",
            remedy="use fewer workers (1 starts no process)",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _cores() -> int:
    """Cores this process may use, which a container or batch system can limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
