"""Cases that are read, computed and written at once. That stages overlap is shown by steps that wait for others."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from autoseg.data.dataset import Case
from autoseg.errors import ImageError
from autoseg.inference.stream import stream

CASES = tuple(Case(id=name, images=(Path(f"{name}.nii.gz"),)) for name in "abcd")
PATIENCE = 20.0
"""Seconds until a step that waits in vain gives up, so that a failure is a failure and not a test that hangs."""


def _nothing(case: Case, value: str) -> str:
    return f"{value}-{case.id}"


def test_every_case_goes_through_all_stages_in_order() -> None:
    results, failures = stream(CASES, "test", read=lambda case: case.id, compute=_nothing, write=_nothing)
    assert list(results.items()) == [(name, f"{name}-{name}-{name}") for name in "abcd"]
    assert failures == []
    assert stream((), "test", read=lambda case: case.id, compute=_nothing, write=_nothing) == ({}, [])


def test_the_next_case_is_read_while_one_is_computed() -> None:
    read = {case.id: threading.Event() for case in CASES}

    def reading(case: Case) -> str:
        read[case.id].set()
        return case.id

    def compute(case: Case, value: str) -> str:
        following = chr(ord(case.id) + 1)
        assert following not in read or read[following].wait(PATIENCE), f"{following} waits for {case.id}"
        return value

    results, _ = stream(CASES, "test", read=reading, compute=compute, write=_nothing)
    assert list(results) == list("abcd")


def test_a_case_is_written_while_the_next_is_computed() -> None:
    computed = {case.id: threading.Event() for case in CASES}

    def compute(case: Case, value: str) -> str:
        computed[case.id].set()
        return value

    def write(case: Case, value: str) -> str:
        following = chr(ord(case.id) + 1)
        assert following not in computed or computed[following].wait(PATIENCE), f"{following} waits for {case.id}"
        return value

    results, _ = stream(CASES, "test", read=lambda case: case.id, compute=compute, write=write)
    assert list(results) == list("abcd")


def test_no_more_than_a_few_cases_are_held() -> None:
    held, most, lock, release = 0, 0, threading.Lock(), threading.Event()
    cases = tuple(Case(id=f"{i:02}", images=(Path("x.nii.gz"),)) for i in range(12))

    def reading(case: Case) -> str:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        if held == 4:  # one read ahead, one computed, two being written
            release.set()
        return case.id

    def write(case: Case, value: str) -> str:
        nonlocal held
        release.wait(PATIENCE)
        with lock:
            held -= 1
        return value

    stream(cases, "test", read=reading, compute=_nothing, write=write)
    assert most == 4


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_a_case_that_fails_in_any_stage_is_named_and_the_others_go_on(stage: str) -> None:
    def failing(name: str, case: Case) -> str:
        if name == stage and case.id == "b":
            raise ImageError("cannot be used")
        return case.id

    results, failures = stream(
        CASES,
        "test",
        read=lambda case: failing("read", case),
        compute=lambda case, _: failing("compute", case),
        write=lambda case, _: failing("write", case),
    )
    assert list(results) == list("acd")
    assert len(failures) == 1
    assert failures[0].startswith("b: ")
    assert "cannot be used" in failures[0]


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_a_bug_is_raised(stage: str) -> None:
    def broken(name: str) -> str:
        if name == stage:
            raise ZeroDivisionError
        return ""

    with pytest.raises(ZeroDivisionError):
        stream(
            CASES,
            "test",
            read=lambda case: broken("read"),
            compute=lambda case, _: broken("compute"),
            write=lambda case, _: broken("write"),
        )


def test_only_what_is_computed_takes_more_than_one_thread() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    seen: dict[str, list[int]] = {"read": [], "compute": [], "write": []}

    def note(stage: str) -> None:
        seen[stage].append(torch.get_num_threads())

    try:
        stream(
            CASES[:3], "test",
            read=lambda case: note("read"),
            compute=lambda case, image: note("compute"),
            write=lambda case, computed: note("write"),
        )  # fmt: skip
        afterwards = [torch.get_num_threads()]
        thread = threading.Thread(target=lambda: afterwards.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(before)
    assert seen == {"read": [3, 1, 1], "compute": [3, 3, 3], "write": [1, 1, 1]}
    assert afterwards == [3, 3]
