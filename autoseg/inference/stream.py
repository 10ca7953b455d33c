"""Cases through three stages at once: one is read ahead, one is computed, others are written behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from autoseg.data.dataset import Case
from autoseg.errors import AutosegError
from autoseg.log import progress

Read = TypeVar("Read")
Computed = TypeVar("Computed")
Written = TypeVar("Written")

_BEHIND = 2
"""Cases that wait for being written: more would only hold memory."""


def stream(
    cases: Sequence[Case],
    title: str,
    *,
    read: Callable[[Case], Read],
    compute: Callable[[Case, Read], Computed],
    write: Callable[[Case, Computed], Written],
) -> tuple[dict[str, Written], list[str]]:
    """Takes each case through reading, computing and writing; the three overlap, each in threads of this process.

    Operations on the CPU have all threads where nothing else runs, in `compute` and for the first case, and one where
    they run beside a case that is computed. More would not only take its cores: see `rows.StreamedLogits`.

    A case that fails with an `AutosegError` in any stage is left out and the others go on; other exceptions are bugs
    and are raised.

    Args:
        cases: what is done, in this order.
        title: of the progress bar.
        read: prepares a case for `compute`.
        compute: does the work of a case in the calling thread.
        write: puts a result down, and gives what is returned for the case.

    Returns:
        Identifier -> what `write` returned, in the order of the cases, and a message for each case that failed.
    """
    results: dict[str, Written] = {}
    failures: list[str] = []
    writing: list[tuple[str, Future[Written]]] = []

    def settle(most: int) -> None:
        while len(writing) > most:
            case_id, future = writing.pop(0)
            try:
                results[case_id] = future.result()
            except AutosegError as error:
                failures.append(_failure(case_id, error))

    threads = torch.get_num_threads()
    try:
        with _alone(1) as reader, _alone(_BEHIND) as writer:
            ahead = _now(read, cases[0]) if cases else None
            for i, case in progress(enumerate(cases), title, len(cases)):
                current, ahead = ahead, reader.submit(read, cases[i + 1]) if i + 1 < len(cases) else None
                assert current is not None
                try:
                    computed = compute(case, current.result())
                except AutosegError as error:
                    failures.append(_failure(case.id, error))
                    continue
                writing.append((case.id, writer.submit(write, case, computed)))
                settle(_BEHIND)
            settle(0)
    finally:
        torch.set_num_threads(threads)  # what new threads begin with
    return results, failures


def _now(read: Callable[[Case], Read], case: Case) -> Future[Read]:
    """What reading a case in this thread gives or raises."""
    future: Future[Read] = Future()
    try:
        future.set_result(read(case))
    except Exception as error:
        future.set_exception(error)
    return future


def _alone(count: int) -> ThreadPoolExecutor:
    """Threads whose operations use no other thread."""
    return ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))


def _failure(case: str, error: AutosegError) -> str:
    """The error's message, with the case named once."""
    return str(error) if error.where == case else f"{case}: {error}"
