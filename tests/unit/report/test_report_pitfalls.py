"""Pitfalls of metrics on the page of a run: those that apply to its scores, none where nothing was validated."""

from __future__ import annotations

import json
from pathlib import Path

from autoseg.report.build import render
from autoseg.report.gather import gather
from autoseg.report.pitfalls_section import pitfalls_section
from autoseg.workspace import Run


def test_the_page_says_what_applies_to_the_scores(finished_run: Run) -> None:
    path = finished_run.fold("3d_fullres", 0).validation_summary
    content = json.loads(path.read_text(encoding="utf-8"))
    for scores in content["cases"].values():
        scores["organ"] |= {"n_ref": 160, "n_pred": 150, "hole_voxels_pred": 6, "hole_voxels_ref": 0}
        scores["organ"] |= {"centroid_distance": 9.0, "shift_z": 9.0, "shift_y": 0.0, "shift_x": 0.0}
    path.write_text(json.dumps(content), encoding="utf-8")
    records = gather(finished_run)
    section = pitfalls_section(records)
    assert section is not None
    assert section.model == "3d_fullres"
    sentences = {one.name: one.sentence for one in section.advice}
    assert (
        "organ: 4 of 4 predictions have holes where the reference has none (median 6 voxels, 4 % of it)"
        in (sentences["holes"])
    )
    assert "voxels of 3 mm" in sentences["coarse-resolution"]  # the spacing is the fingerprint's
    page = render(records)
    assert '<h3 id="pitfalls">' in page
    assert "Holes are not those of the references" in page


def test_before_a_validation_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert pitfalls_section(gather(Run(tmp_path))) is None
