"""What CONTRIBUTING.md tells a newcomer to open exists, and so do the pages that README.md leads to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TASKS = re.findall(r"^\| (.+) \| (`.+) \|$", TEXT, flags=re.MULTILINE)
PATHS = sorted(set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", TEXT)) - {"site/", "site/index.html"})


def test_the_table_has_twenty_tasks_and_more() -> None:
    assert len(TASKS) >= 20
    assert all(re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", opened) for _, opened in TASKS)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_exists(path: str) -> None:
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 5
    assert not [link for link in links if not (ROOT / link).is_file()]
