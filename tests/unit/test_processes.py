"""Work over processes: every result, the first error with its cause, and no waiting for the dead."""

from __future__ import annotations

import logging
import os
import signal
import time

import pytest

from autoseg.errors import AutosegError, ImageError
from autoseg.processes import unordered, usable_cores


def _square(number: int) -> int:
    return number * number


def _refuse_three(number: int) -> int:
    if number == 3:
        raise ImageError("three is not liked", where="case 3")
    return number


def _die(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


@pytest.mark.parametrize("workers", [1, 3])
def test_all_results_arrive(workers):
    assert sorted(unordered(_square, range(20), "squares", workers=workers)) == [i * i for i in range(20)]


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_to_do(workers):
    assert list(unordered(_square, [], "nothing", workers=workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_keeps_its_kind_and_message(workers):
    with pytest.raises(ImageError, match="case 3: three is not liked"):
        list(unordered(_refuse_three, range(6), "numbers", workers=workers))


def test_a_killed_worker_is_an_error_and_no_hang():
    start = time.monotonic()
    with pytest.raises(AutosegError, match=r"deaths: a worker process was killed[\s\S]*fewer workers"):
        list(unordered(_die, range(8), "deaths", workers=2))
    assert time.monotonic() - start < 30


def test_the_rest_is_dropped_when_the_caller_stops():
    start = time.monotonic()
    results = unordered(_die, [1] * 400, "dropped", workers=2)
    next(results)
    results.close()
    assert time.monotonic() - start < 8  # all of them would take ten seconds


def test_usable_cores():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def _square_and_process(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def test_patience_keeps_short_work_here_and_sends_long_work_away() -> None:
    short = list(unordered(_square_and_process, range(6), "squares", workers=4, patience=60))
    assert short == [(i * i, os.getpid()) for i in range(6)]
    found = list(unordered(_square_and_process, range(6), "squares", workers=2, patience=1e-9))
    assert sorted(value for value, _ in found) == [i * i for i in range(6)]
    assert sum(process == os.getpid() for _, process in found) <= 1


def _wait(number: int) -> int:
    time.sleep(0.1)
    return number


@pytest.mark.usefixtures("fresh_logging")
@pytest.mark.parametrize(("workers", "patience"), [(1, 0.0), (2, 0.0), (2, 0.05)])
def test_the_progress_counts_every_item(workers: int, patience: float, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="autoseg")
    assert sorted(unordered(_wait, range(4), "waits", workers=workers, patience=patience)) == [0, 1, 2, 3]
    assert [message for message in caplog.messages if message.startswith("waits: 4 in ")]
