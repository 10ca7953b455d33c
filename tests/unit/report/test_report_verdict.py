"""The words of the headline for numbers that are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoseg.evaluation.summary import Summary
from autoseg.report.gather import CaseScores, FoldRecords, RunRecords, gather
from autoseg.report.verdict import verdict
from autoseg.run_state import begin_training, finish_training
from autoseg.workspace import Fold, Run


def records(dice: list[float], metrics: list[dict] | None = None) -> RunRecords:
    """Records of an otherwise empty run with one label and these cases."""
    cases = tuple(CaseScores(f"case_{index}", "0", {"organ": {"dice": value}}) for index, value in enumerate(dice))
    fold = FoldRecords(Fold(Path("fold_0")), metrics or [], cases)
    return RunRecords(Run(Path("run")), None, None, None, Summary(), None, None, {"2d": {"0": fold}}, ())


@pytest.mark.parametrize(
    ("dice", "grade"), [(0.95, "Very good"), (0.85, "Good"), (0.75, "Fair"), (0.6, "Weak"), (0.2, "Poor")]
)
def test_grade_follows_the_mean(dice: float, grade: str) -> None:
    found = verdict(records([dice] * 12))
    assert found.words.startswith(f"{grade} overlap: prediction and reference share {dice:.0%}")
    assert found.configuration == "2d"
    assert found.dice == pytest.approx(dice)


def test_outlying_cases_are_named() -> None:
    remarks = " ".join(verdict(records([0.9] * 11 + [0.3])).remarks)
    assert "One case lies far below the median (0.900); the worst is case_11 with 0.300." in remarks
    assert "No case lies far below" in " ".join(verdict(records([0.9] * 12)).remarks)


def test_few_cases_and_missed_objects_are_named() -> None:
    remarks = " ".join(verdict(records([0.9, 0.8, 0.0])).remarks)
    assert "Only 3 cases were validated" in remarks
    assert "One object was missed or invented" in remarks


def test_unfinished_slow_and_short_trainings_are_named() -> None:
    rows = [
        {"step": step, "steps": 100, "validation_foreground_dice": 0.005 * step, "waiting_for_data": 0.4}
        for step in range(1, 101)
    ]
    assert "the training stands at step 50 of 100" in " ".join(verdict(records([0.9], rows[:50])).remarks)
    remarks = " ".join(verdict(records([0.9], rows)).remarks)
    assert "still rising at the end" in remarks
    assert "40% of the time went into waiting for data" in remarks


def test_run_without_validation_has_no_number(tmp_path: Path) -> None:
    found = verdict(gather(Run(tmp_path)))
    assert found.dice is None
    assert found.configuration is None
    assert "nothing to judge" in found.words


def test_a_fold_trained_anew_since_the_choice_is_told(finished_run: Run) -> None:
    folder = finished_run.fold("3d_fullres", 0)
    assert not [text for _, text in verdict(gather(finished_run)).warnings if "anew" in text or "begun" in text]
    folder.final.write_bytes(b"weights")
    begin_training(folder)
    texts = [text for _, text in verdict(gather(finished_run)).warnings]
    assert any("fold 0: another training was begun and is not finished" in text for text in texts)
    finish_training(folder)
    content = json.loads(folder.validation_summary.read_text(encoding="utf-8"))
    for rows in content["cases"].values():
        for metrics in rows.values():
            if metrics.get("dice") is not None:
                metrics["dice"] *= 0.5
    folder.validation_summary.write_text(json.dumps(content), encoding="utf-8")
    texts = [text for _, text in verdict(gather(finished_run)).warnings]
    assert any(f"autoseg choose {finished_run.root}" in text for text in texts)
