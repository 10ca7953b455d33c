"""Cases in this process or in several give the same."""

from __future__ import annotations

import os

import pytest

from autoseg.errors import AutosegError
from autoseg.evaluation import workers


def square(number: int) -> tuple[int, int]:
    """The square, and the process it was computed in."""
    return number * number, os.getpid()


def die(number: int) -> None:
    """Ends its process at once, as the system does when memory is short; not the one of the tests."""
    if number > 0:
        os._exit(1)


JOBS = {str(number): number for number in range(6)}


def test_quick_work_stays_in_this_process() -> None:
    results = dict(workers.map_cases(square, JOBS, "square", workers=4))
    assert results == {name: (number**2, os.getpid()) for name, number in JOBS.items()}


def test_long_work_goes_to_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_PATIENCE", -1.0)
    results = dict(workers.map_cases(square, JOBS, "square", workers=2))
    assert {name: value for name, (value, _) in results.items()} == {name: n * n for name, n in JOBS.items()}
    assert os.getpid() not in {process for _, process in results.values()}


def test_one_worker_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_PATIENCE", -1.0)
    assert {process for _, (_, process) in workers.map_cases(square, JOBS, "square", workers=1)} == {os.getpid()}


def test_a_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_PATIENCE", -1.0)
    with pytest.raises(AutosegError, match="a worker process died"):
        list(workers.map_cases(die, {"a": 1, "b": 2}, "die", workers=2))


def test_no_jobs() -> None:
    assert list(workers.map_cases(square, {}, "square")) == []
