from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from benchmarks.peer.programs import ProgramFailed, alternate, run

HOLD = "import time; held = bytearray({mb} * 2**20); time.sleep(1)"


def test_peak_memory_is_that_of_the_program_and_its_children_together():
    alone = run([sys.executable, "-c", HOLD.format(mb=100)])
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {HOLD.format(mb=100)!r}]);"
    both = run([sys.executable, "-c", child + HOLD.format(mb=100)])
    assert 100 < alone.peak_mb < 130
    assert 200 < both.peak_mb < 250
    assert alone.seconds > 1


def test_output_ends_with_an_answer_in_json_and_the_environment_is_passed_on():
    code = "import os; print('words'); print('{\"a\": ' + os.environ['FIGURE'] + '}')"
    assert run([sys.executable, "-c", code], env={"FIGURE": "3"}).answer() == {"a": 3}


def test_a_program_that_fails_says_what_it_wrote():
    with pytest.raises(ProgramFailed, match=r"(?s)ended with 3.*last words"):
        run([sys.executable, "-c", "import sys; print('last words', file=sys.stderr); sys.exit(3)"])


def test_a_late_program_is_killed_with_its_children(tmp_path):
    note = tmp_path / "child"
    child = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(ProgramFailed, match="more than 2 s"):
        run([sys.executable, "-c", parent], timeout=2)
    deadline = time.monotonic() + 5
    while _runs(int(note.read_text(encoding="utf-8"))):
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    """A killed process whose parent is gone stays in the table (Z) until the system collects it."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"


def test_sides_take_turns_and_change_who_is_first():
    order: list[str] = []
    ours, peer = alternate(lambda: order.append("ours") or 1, lambda: order.append("peer") or 2, 3)
    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert (ours, peer) == ([1, 1, 1], [2, 2, 2])
