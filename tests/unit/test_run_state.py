"""What is done of a run, from its files alone: every combination of them leads to one answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoseg.run_state import (
    FoldState,
    RunState,
    TrainingStatus,
    begin_training,
    finish_training,
    fold_state,
    read_metrics,
    withdraw_validation,
)
from autoseg.workspace import Fold, Run


def fold_with(
    root: Path, *, final: bool = False, last: bool = False, validated: bool = False, status: bool | None = None
) -> Fold:
    fold = Fold(root)
    fold.validation.mkdir(parents=True)
    for path, wanted in ((fold.final, final), (fold.last, last), (fold.validation_summary, validated)):
        if wanted:
            path.write_bytes(b"content")
    if status is not None:
        TrainingStatus(finished=status).save(fold.status)
    return fold


@pytest.mark.parametrize(
    ("files", "standing"),
    [
        ({}, "waiting"),
        ({"final": True}, "trained"),
        ({"final": True, "validated": True}, "finished"),
        ({"validated": True}, "finished"),  # somebody removed the weights to save space
        ({"final": True, "last": True, "validated": True, "status": True}, "finished"),
        ({"final": True, "validated": True, "status": False}, "waiting"),  # another training has begun since
        ({"status": False}, "waiting"),
    ],
)
def test_files_say_where_a_fold_stands(tmp_path: Path, files: dict[str, bool], standing: str) -> None:
    assert fold_state(fold_with(tmp_path / "fold_0", **files)).standing() == standing


def test_an_empty_file_is_no_model(tmp_path: Path) -> None:
    fold = fold_with(tmp_path / "fold_0")
    fold.final.touch()
    assert fold_state(fold) == FoldState(begun=True)


def test_what_does_not_validate_is_finished_with_its_weights(tmp_path: Path) -> None:
    state = fold_state(fold_with(tmp_path / "fold_all", final=True))
    assert state.standing(validates=False) == "finished"
    assert state.standing(validates=False, feeds=True) == "finished"


def test_a_first_stage_is_finished_with_the_labels_for_the_second(tmp_path: Path) -> None:
    fold = fold_with(tmp_path / "fold_0", final=True, validated=True)
    assert fold_state(fold).standing(feeds=True) == "trained"
    fold.next_stage.mkdir()
    assert fold_state(fold).standing(feeds=True) == "finished"


def test_a_training_anew_keeps_the_model_before_until_it_is_done(tmp_path: Path) -> None:
    fold = fold_with(tmp_path / "fold_0", final=True, last=True, validated=True, status=True)
    begin_training(fold)
    state = fold_state(fold)
    assert (state.has_model, state.validated, state.trained, state.resumable) == (True, True, False, False)
    fold.last.write_bytes(b"new")
    fold.metrics.write_text(json.dumps({"step": 3, "seconds": 30.0, "remaining": 10.0}) + "\n", encoding="utf-8")
    state = fold_state(fold)
    assert (state.standing(), state.progress, state.remaining, state.resumable) == ("started", 0.75, 10.0, True)
    withdraw_validation(fold)
    fold.final.write_bytes(b"new weights")
    assert fold_state(fold).standing() == "started"
    finish_training(fold)
    state = fold_state(fold)
    assert (state.standing(), state.progress, state.validated) == ("trained", 1.0, False)


def test_a_run_is_the_sum_of_its_folds(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert RunState.read(run) == RunState(False, False, False, False, False, False, {})
    fold_with(run.fold("2d", 0).root, final=True, validated=True)
    fold_with(run.fold("2d", 1).root, last=True)
    fold_with(run.fold("2d", "all").root, final=True, validated=True)
    run.plan.write_text("{}", encoding="utf-8")
    state = RunState.read(run)
    assert (state.planned, state.has_data) == (True, False)
    assert set(state.folds) == {("2d", "0"), ("2d", "1"), ("2d", "all")}
    assert state.models("2d") == ("0", "all")
    assert state.validated("2d") == ("0",)  # a model of all data has no cases of its own
    assert state.fold("3d_fullres", "0") == FoldState()


def test_half_a_line_of_the_metrics_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo', encoding="utf-8")
    assert read_metrics(path) == [{"step": 1}]
