"""An iterator that works ahead in a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

import torch

Item = TypeVar("Item")

_LOOK = 0.1
"""Seconds after which a thread that waits for room looks whether anybody still takes its items."""


def ahead(items: Iterator[Item], stopped: Event, waiting: int = 1) -> Iterator[Item]:
    """The same items in order, made by a thread while the caller works on the ones before.

    The thread's operations have as many CPU threads as the caller's.

    Args:
        items: advanced in the thread only, from the first item that is asked for on.
        stopped: set when the caller wants no more items, so that `items` can end early.
        waiting: items that are made and not yet taken; the thread waits while there are so many.

    Raises:
        Whatever `items` raises, at its place.
    """
    queue: Queue[tuple[str, Item | BaseException | None]] = Queue(waiting)

    def put(kind: str, value: Item | BaseException | None = None) -> None:
        while not stopped.is_set():
            try:
                queue.put((kind, value), timeout=_LOOK)
            except Full:
                continue
            return

    threads = torch.get_num_threads()

    def make() -> None:
        try:
            torch.set_num_threads(threads)  # counted thread by thread; a new one has what any other set last
            for item in items:
                put("item", item)
                del item  # not held while the next one is made
                if stopped.is_set():
                    return
        except BaseException as error:
            put("error", error)
        else:
            put("end")

    thread = Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = queue.get()
            if kind == "error":
                assert isinstance(value, BaseException)
                raise value
            if kind == "end":
                return
            yield value  # type: ignore[misc]
            del value
    finally:
        stopped.set()
        _empty(queue)
        thread.join()


def _empty(queue: Queue) -> None:
    try:
        while True:
            queue.get_nowait()
    except Empty:
        return
