"""How a run came about, kept over several calls."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from autoseg.provenance import Journal


def test_a_journal_adds_up_calls_stages_and_notes(tmp_path: Path) -> None:
    path = tmp_path / "provenance.json"
    first = Journal(path, ("autoseg", "plan-and-train", "x"))
    with first.stage("plan"):
        pass
    with pytest.raises(RuntimeError), first.stage("train"):
        raise RuntimeError
    first.note("a choice")
    second = Journal(path, ("autoseg", "plan-and-train", "x", "--resume"))
    with second.stage("train"):
        pass
    second.note("a choice")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["command"][-1] == "--resume"
    assert len(content["commands"]) == 2
    stages = [(stage["name"], stage["finished"]) for stage in content["stages"]]
    assert stages == [("plan", True), ("train", False), ("train", True)]
    assert content["notes"] == ["a choice"]
    assert content["versions"]["torch"] != "not installed"
    assert content["machine"]["cores"] >= 1


def test_time_spent_is_that_of_the_same_command(tmp_path: Path) -> None:
    path, command = tmp_path / "provenance.json", ("autoseg", "plan-and-train", "x", "--budget", "9m")
    other = Journal(path, (*command, "--folds", "0"))
    with other.stage("train"):
        time.sleep(0.03)
    first = Journal(path, command)
    assert first.spent == 0
    with pytest.raises(KeyboardInterrupt), first.stage("train"):
        _interrupted_after(0.05)
    again = Journal(path, (*command, "--resume"))
    assert 0.04 <= again.spent < 0.08
    with again.stage("train"):
        time.sleep(0.05)
    assert 0.09 <= Journal(path, (*command, "--resume")).spent < 0.16
    assert Journal(path).spent == 0  # a call from Python is a command of its own
    assert Journal(path, other.record.command).spent == 0


def _interrupted_after(seconds: float) -> None:
    time.sleep(seconds)
    raise KeyboardInterrupt


def test_a_follower_writes_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "provenance.json", ("autoseg",), writes=False)
    with journal.stage("plan"):
        journal.note("a choice")
    assert not list(tmp_path.iterdir())
