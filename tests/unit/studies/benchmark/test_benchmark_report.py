"""The section about a published benchmark shows what reproduction.json says, and only where there is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autoseg.report.build import render
from autoseg.report.gather import gather
from autoseg.studies.benchmark.report.section import reproduction
from autoseg.workspace import Run

MEAN = {"name": "mean", "cases": 4, "published": 0.89, "reproduced": 0.88, "interval": {"low": 0.87, "high": 0.9}}
CONTENT: dict[str, Any] = {
    "title": "Toy <challenge>", "differences": ["1 case is missing: case_2."], "configuration": "2d",
    "planner": "default", "folds": ["0"], "of_folds": 5, "steps": 60, "source": {"title": "Toys", "doi": "10.1/toy"},
    "published": {"method": "nnU-Net", "place": "table 2", "note": "five folds"},
    "verdict": {"outcome": "not comparable", "text": "not comparable: one fold of five."},
    "comparisons": [
        {
            "metric": "dice", "published_on": "fold 0", "mean": MEAN,
            "labels": [{**MEAN, "name": "1", "interval": None}],
            "folds": [{**MEAN, "name": "0"}],
        }
    ],
}  # fmt: skip


def test_the_section_says_what_was_compared(tmp_path: Path) -> None:
    (tmp_path / "reproduction.json").write_text(json.dumps(CONTENT), encoding="utf-8")
    records = gather(Run(tmp_path))
    section = reproduction(records)
    assert section is not None
    assert section.trained == "2d, planned by default, 60 steps, fold 0 of 5"
    assert section.published == "nnU-Net; Toys, table 2, https://doi.org/10.1/toy"
    assert section.tables[0].rows == (("label 1", 0.89, 0.88, None, 4), ("mean", 0.89, 0.88, (0.87, 0.9), 4))
    page = render(records)
    assert "not comparable: one fold of five." in page
    assert "0.8700 to 0.9000" in page
    assert "Toy &lt;challenge&gt;" in page
    assert "1 case is missing: case_2." in page


def test_other_runs_have_no_such_section(tmp_path: Path) -> None:
    records = gather(Run(tmp_path))
    assert reproduction(records) is None
    assert 'id="reproduction"' not in render(records)
