"""The trainings of a run: where they stand, what they get of a budget, what the user is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_pipeline_choices import LARGE

from autoseg.pipeline.jobs import Job, estimated, list_jobs, shares, table_lines
from autoseg.run_state import RunState
from autoseg.workspace import Run

EVERY = ("0", "1", "2")


def test_the_first_stage_of_a_cascade_is_trained_on_every_fold(tmp_path: Path) -> None:
    names = ("3d_lowres", "3d_fullres", "3d_cascade_fullres")
    jobs = [
        (job.configuration, job.fold) for job in list_jobs(RunState.read(Run(tmp_path)), LARGE, names, ("1",), EVERY)
    ]
    assert jobs == [
        ("3d_lowres", "0"), ("3d_lowres", "1"), ("3d_lowres", "2"), ("3d_fullres", "1"), ("3d_cascade_fullres", "1"),
    ]  # fmt: skip


def test_a_first_stage_without_labels_for_the_second_is_validated_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for fold in EVERY:
        run.fold("3d_lowres", fold).validation.mkdir(parents=True)
        run.fold("3d_lowres", fold).validation_summary.touch()
        run.fold("3d_lowres", fold).final.write_bytes(b"weights")
    run.fold("3d_lowres", 1).next_stage.mkdir()
    alone = list_jobs(RunState.read(run), LARGE, ("3d_lowres",), EVERY, EVERY)
    assert [job.state for job in alone] == ["finished"] * 3
    feeding = list_jobs(RunState.read(run), LARGE, ("3d_lowres", "3d_cascade_fullres"), ("0",), EVERY)
    assert [job.state for job in feeding] == ["trained", "finished", "trained", "waiting"]


def test_jobs_tell_where_they_stand(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for fold in EVERY:
        run.fold("2d", fold).validation.mkdir(parents=True)
    run.fold("2d", 0).validation_summary.touch()
    run.fold("2d", 1).final.write_bytes(b"weights")
    run.fold("2d", 2).last.touch()
    run.fold("2d", 2).metrics.write_text(
        json.dumps({"step": 3, "steps": 4, "seconds": 30.0, "remaining": 10.0}), encoding="utf-8"
    )
    run.fold("2d", "all").root.mkdir()
    run.fold("2d", "all").final.write_bytes(b"weights")
    jobs = list_jobs(RunState.read(run), LARGE, ("2d", "3d_fullres"), ("0", "1", "2", "all"), EVERY)
    assert [job.state for job in jobs] == ["finished", "trained", "started", "finished", *["waiting"] * 4]
    assert [job.progress for job in jobs[:4]] == [1.0, 1.0, 0.75, 1.0]


def test_a_budget_is_shared_by_what_is_left() -> None:
    jobs = (Job("2d", "0", "finished", 1.0), Job("2d", "1", "started", 0.5), Job("2d", "2"))
    assert shares(jobs, 300.0) == pytest.approx((0.0, 100.0, 200.0))
    assert sum(shares(jobs, 300.0)) == pytest.approx(300.0)
    assert [job.seconds for job in estimated(jobs, 300.0, lambda job: None)] == pytest.approx([0.0, 100.0, 200.0])


def test_the_end_of_a_training_gets_a_twentieth_of_a_whole_one_at_least() -> None:
    """Whatever its progress says: it is still to be validated."""
    jobs = (Job("2d", "0", "started", 0.8), Job("2d", "1", "started", 0.99), Job("2d", "2", "trained", 1.0))
    assert shares(jobs, 300.0) == pytest.approx((200.0, 50.0, 50.0))
    assert [job.seconds for job in estimated(jobs, None, lambda job: 1000.0)] == pytest.approx([200.0, 50.0, 50.0])


def test_the_table_names_state_and_time() -> None:
    jobs = (Job("2d", "0", "finished", 1.0), Job("2d", "1", "started", 0.5), Job("3d_fullres", "0"))
    lines = list(table_lines(estimated(jobs, None, lambda job: 1200.0)))
    assert [line.split() for line in lines[1:4]] == [
        ["2d", "fold", "0", "finished", "-"],
        ["2d", "fold", "1", "50%", "done", "10m00s"],
        ["3d_fullres", "fold", "0", "waiting", "20m00s"],
    ]
    assert lines[4] == "2 of 3 trainings left, about 30m00s"
    unknown = list(table_lines(estimated(jobs, None, lambda job: None)))
    assert unknown[3].endswith("unknown")
    assert unknown[4] == "2 of 3 trainings left"
