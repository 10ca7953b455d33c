"""How a run came about, kept over several calls."""

from __future__ import annotations

import json
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
    content = json.loads(path.read_text())
    assert content["command"][-1] == "--resume"
    assert len(content["commands"]) == 2
    assert [stage["name"] for stage in content["stages"]] == ["plan", "train"]  # not the one that failed
    assert content["notes"] == ["a choice"]
    assert content["versions"]["torch"] != "not installed"
    assert content["machine"]["cores"] >= 1
