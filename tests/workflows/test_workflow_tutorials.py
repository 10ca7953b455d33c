"""The tutorials of docs/tutorials, run as they stand on the page, one after the other as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoseg.plan.record import Plan
from autoseg.records import read_mapping

ROOT = Path(__file__).parents[2]
PAGES = ("first-model", "own-loss-and-network", "sharing-a-model")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
FILE_NAME = re.compile(r"# (\w+\.py)\n")


def script(page: str) -> str:
    """What a reader of a page does, as a shell script.

    Shell blocks are typed, Python blocks are saved under the name in their first line, and the files that a text block
    lists, one a line, are looked for.
    """
    return "\n".join(["set -euo pipefail", *_steps(page)])


def _steps(page: str) -> Iterator[str]:
    for language, text in BLOCK.findall(page):
        if language == "bash":
            yield text
        elif language == "python":
            name = FILE_NAME.match(text)
            assert name is not None, f"a Python block without a file name:\n{text}"
            yield f"cat > {name[1]} <<'END OF FILE'\n{text}END OF FILE"
        else:
            assert language == "text", f"a block that nobody checks:\n{text}"
            yield from (
                f"test -e {path} || {{ echo 'the page promises {path}' >&2; exit 1; }}"
                for path in (shlex.quote(line.split()[0]) for line in text.splitlines())
            )


def follow(page: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Does what a page says in a folder, with the environment's own commands."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-c", script(page)], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )


@pytest.mark.slow
def test_the_tutorials_work_as_they_stand(tmp_path: Path) -> None:
    for name in PAGES:
        page = (ROOT / "docs" / "tutorials" / f"{name}.md").read_text(encoding="utf-8")
        done = follow(page, tmp_path)
        assert done.returncode == 0, f"{name}:\n{done.stdout}\n{done.stderr}"
    assert read_mapping(tmp_path / "scores.json")["foreground_mean"]["dice"] > 0.5
    configuration = Plan.load(tmp_path / "own" / "plan.json").configurations["3d_fullres"]
    assert configuration.network == "dilated"


def test_every_tutorial_is_followed() -> None:
    assert {path.stem for path in (ROOT / "docs" / "tutorials").glob("*.md")} == set(PAGES)


def test_a_page_that_is_wrong_fails(tmp_path: Path) -> None:
    promises = (
        "```bash\nmkdir there\ncd there\n```\n\n```python\n# a.py\nprint(1)\n```\n\n```text\na.py   what it is\n```\n"
    )
    assert follow(promises, tmp_path).returncode == 0
    assert (tmp_path / "there" / "a.py").read_text(encoding="utf-8") == "# a.py\nprint(1)\n"
    assert "promises b.py" in follow("```text\nb.py   what it is\n```\n", tmp_path).stderr
    assert follow("```bash\nfalse\ntrue\n```\n", tmp_path).returncode != 0
