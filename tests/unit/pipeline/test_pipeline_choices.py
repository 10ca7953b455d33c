"""The user's words turned into names and seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoseg.data.dataset import Dataset
from autoseg.data.labels import LabelScheme
from autoseg.data.splits import k_fold, save_splits
from autoseg.errors import ConfigurationError
from autoseg.pipeline import choices
from autoseg.pipeline.planned import PlannedRun
from autoseg.pipeline.stages import split_names
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.workspace import Run

LABELS = LabelScheme(names={"background": 0, "organ": 1})


def _plan(*names: str) -> Plan:
    item = ConfigurationPlan(
        spacing=(1, 1, 1), median_shape=(8, 8, 8), patch_size=(8, 8, 8), batch_size=2, strides=((1, 1, 1),),
        kernel_sizes=((3, 3, 3),), features_per_stage=(4,), blocks_per_stage=(1,), decoder_blocks_per_stage=(),
        normalization=("none",), use_mask_for_norm=(False,), batch_dice=False,
    )  # fmt: skip
    stages = {name: item.with_(previous_stage="3d_lowres" if "cascade" in name else None) for name in names}
    return Plan(
        dataset="x", planner="default", channels=("CT",), labels=LABELS, dimension=3, transpose_forward=(0, 1, 2),
        intensities=(), file_ending=".nii.gz", configurations=stages,
    )  # fmt: skip


LARGE = _plan("2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres")


def test_auto_takes_every_configuration_and_with_a_budget_the_most_promising() -> None:
    assert choices.choose_configurations(LARGE, "auto") == ("2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres")
    assert choices.choose_configurations(LARGE, "auto", budget=True) == ("3d_fullres",)
    assert choices.choose_configurations(_plan("2d"), "auto", budget=True) == ("2d",)


def test_named_configurations_are_taken_in_order_and_wrong_ones_refused() -> None:
    assert choices.choose_configurations(LARGE, "3d_fullres, 2d") == ("3d_fullres", "2d")
    with pytest.raises(ConfigurationError, match="did you mean '3d_lowres'"):
        choices.choose_configurations(LARGE, "3d_lowre")
    with pytest.raises(ConfigurationError, match="no configuration is named"):
        choices.choose_configurations(LARGE, " , ")


def test_the_second_stage_of_a_cascade_brings_the_first_along() -> None:
    assert choices.choose_configurations(LARGE, "3d_cascade_fullres") == ("3d_lowres", "3d_cascade_fullres")
    assert choices.choose_configurations(LARGE, "3d_cascade_fullres,2d")[-1] == "3d_cascade_fullres"
    assert choices.wants_cascade("2d,3d_lowres")
    assert not choices.wants_cascade("auto")


def test_folds_are_those_of_the_splits(tmp_path: Path) -> None:
    run = Run(tmp_path)
    cases = tuple({"id": f"case{i}", "images": (f"{i}.nii.gz",)} for i in range(7))
    Dataset(
        name="x", folder=tmp_path, layout="plain", channels=("CT",), labels=LABELS, file_ending=".nii.gz",
        label_ending=".nii.gz", training=cases,
    ).save(run.dataset)  # fmt: skip
    save_splits(run.splits, k_fold(case["id"] for case in cases))
    folds = split_names(run)
    assert choices.choose_folds(folds, "all") == ("0", "1", "2", "3", "4")
    assert choices.choose_folds(folds, "3,1") == ("3", "1")
    assert choices.choose_folds(folds, "all-data") == ("all",)
    planned = PlannedRun(run, Dataset.load(run.dataset), LARGE)
    assert planned.folds == folds
    assert (len(planned.split("all").train), planned.split("all").validation) == (7, ())
    assert len(planned.split("3").train) + len(planned.split("3").validation) == 7
    for refused in (lambda: choices.choose_folds(folds, "0,5"), lambda: planned.split("5")):
        with pytest.raises(ConfigurationError, match="there is no fold '5'"):
            refused()


def test_a_deadline_keeps_time_for_the_report() -> None:
    assert choices.Deadline.after(None).left() is None
    left = choices.Deadline.after(100.0).left()
    assert left == pytest.approx(100 - choices.REPORT_SECONDS, abs=1)
    assert choices.Deadline.after(1.0).left() == 0
    assert choices.Deadline.after(100.0, spent=30.0).left() == pytest.approx(70 - choices.REPORT_SECONDS, abs=1)


def test_workers_are_at_least_one() -> None:
    assert choices.count_workers(0) == 1
    assert choices.count_workers(3) == 3
    assert choices.count_workers(None) >= 1


def test_a_budget_counts_every_training_of_a_cascade() -> None:
    every = ("0", "1", "2")
    assert choices.count_jobs("auto", ("0",), every) == 1
    assert choices.count_jobs("2d, 3d_fullres", ("0", "1"), every) == 4
    assert choices.count_jobs("3d_cascade_fullres", ("0",), every) == 4
    assert choices.count_jobs("3d_lowres,3d_cascade_fullres,2d", ("0",), every) == 5
