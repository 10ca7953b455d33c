"""A thread that works ahead: order, bound, errors, and its end when nobody takes more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from threading import Event

import pytest

from autoseg.inference.ahead import ahead


def _threads() -> int:
    return sum(thread.name == "ahead" for thread in threading.enumerate())


def test_items_come_in_order() -> None:
    assert list(ahead(iter(range(20)), Event())) == list(range(20))
    assert list(ahead(iter(()), Event())) == []
    assert _threads() == 0


def test_it_works_ahead_of_the_caller_but_not_further_than_it_may() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    taken = ahead(items(), Event(), waiting=2)
    assert made == []  # nothing before something is asked for
    assert next(taken) == 0
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert made == [0, 1, 2, 3]  # one taken, two waiting, one in hand
    taken.close()  # type: ignore[attr-defined]
    assert _threads() == 0
    assert len(made) <= 5


def test_an_error_arrives_at_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("here")

    taken = ahead(items(), Event())
    assert next(taken) == 1
    with pytest.raises(KeyError, match="here"):
        next(taken)
    assert _threads() == 0
