from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import write_labels
from autoseg.data.image import Geometry
from autoseg.data.labels import LabelScheme
from autoseg.data.splits import Split
from benchmarks.peer.context import Context
from benchmarks.peer.machine import Peaks
from benchmarks.peer.programs import ProgramFailed
from benchmarks.peer.sections import quality


def context(folder: Path, name: str = "Task04_Hippocampus", minutes: float = 20.0) -> Context:
    return Context(
        python=Path(sys.executable),
        peer_python=Path(sys.executable),
        data=folder / name,
        model=None,
        predictions=None,
        plans=None,
        work=folder,
        repeats=1,
        cores=2,
        minutes=minutes,
        peaks=Peaks(cores=2, bandwidth=1, float32=1, bfloat16=1),
    )


def side(**changes: object) -> quality.Side:
    values = {
        "minutes": 20.0, "seconds": 1190.0, "trained": "900 steps", "cases": 52, "asked": 52, "dice": 0.87,
        "peak_mb": 100.0, "profile": ("all of it",),
    }  # fmt: skip
    return quality.Side.model_validate(values | changes)


def kept(where: Context, ours: quality.Side, peer: quality.Side) -> None:
    ours.save(where.folder("quality") / "ours.json")
    peer.save(where.folder("quality") / "peer.json")


def test_sides_that_are_done_are_compared_without_running_again(tmp_path: Path) -> None:
    where = context(tmp_path)
    kept(where, side(), side(dice=0.84, seconds=1230.0))
    section = quality.measure(where)
    (row,) = section.rows
    assert row.ratio == pytest.approx(0.03)
    assert row.met
    assert "900 steps in 1230 s (30 s too many)" in row.agreement
    assert section.profile == ("all of it",)


@pytest.mark.parametrize(
    ("ours", "peer", "met"),
    [
        ({"dice": 0.866}, {"dice": 0.867}, False),  # less than the other side
        ({"dice": 0.86}, {"dice": 0.84}, False),  # less than what is asked of this data set
        ({"cases": 50}, {"dice": 0.84}, False),  # not all cases
        ({}, {"dice": 0.84, "cases": 50}, True),  # the other side's loss
    ],
)
def test_what_is_asked(tmp_path: Path, ours: dict[str, object], peer: dict[str, object], met: bool) -> None:
    where = context(tmp_path)
    kept(where, side(**ours), side(**peer))
    (row,) = quality.measure(where).rows
    assert row.met is met
    assert ("50 of 52 cases" in row.agreement) == (50 in (ours.get("cases"), peer.get("cases")))


def test_the_least_dice_is_asked_of_its_data_set_and_time_alone(tmp_path: Path) -> None:
    other = context(tmp_path / "a", name="phantom")
    kept(other, side(dice=0.5), side(dice=0.4))
    assert quality.measure(other).rows[0].met
    short = context(tmp_path / "b", minutes=2.0)
    kept(short, side(dice=0.5, minutes=2.0), side(dice=0.4, minutes=2.0))
    assert quality.measure(short).rows[0].met


def test_a_result_of_another_length_is_not_taken(tmp_path: Path) -> None:
    side().save(tmp_path / "ours.json")
    assert quality._kept(tmp_path / "ours.json", context(tmp_path)) == side()
    assert quality._kept(tmp_path / "ours.json", context(tmp_path, minutes=5.0)) is None
    assert quality._kept(tmp_path / "peer.json", context(tmp_path)) is None


def test_a_side_is_stopped_after_its_time_and_other_failures_are_told() -> None:
    clock = quality._Clock(0.5 / 60)
    assert clock.run([sys.executable, "-c", "import time; time.sleep(60)"], {}) is None
    assert 0.5 < clock.seconds < 10
    with pytest.raises(ProgramFailed):
        quality._Clock(1.0).run([sys.executable, "-c", "raise SystemExit(3)"], {})


def test_the_score_is_of_the_predicted_validation_cases(tmp_path: Path) -> None:
    geometry, scheme = Geometry(spacing=(1.0, 1.0, 1.0)), LabelScheme(names={"background": 0, "a": 1})
    reference = np.zeros((2, 2, 2), np.uint8)
    reference[0] = 1
    half = reference.copy()
    half[0, 0] = 0
    names = ("whole", "half", "missing", "training")
    (tmp_path / "references").mkdir()
    for name in names:
        write_labels(tmp_path / "references" / f"{name}.nii.gz", reference, geometry)
    for name, labels in (("whole", reference), ("half", half), ("training", half)):
        write_labels(tmp_path / f"{name}.nii.gz", labels, geometry)
    cases = tuple(Case(id=n, images=(), label=tmp_path / "references" / f"{n}.nii.gz") for n in names)
    dataset = Dataset(
        name="d", folder=tmp_path, layout="plain", channels=("MR",), labels=scheme, file_ending=".nii.gz",
        label_ending=".nii.gz", training=cases,
    )  # fmt: skip
    split = Split(train=("training",), validation=("half", "missing", "whole"))
    count, dice = quality._score(dataset, tmp_path, ".nii.gz", split)
    assert count == 2
    assert dice == pytest.approx((1 + 2 / 3) / 2)
    assert quality._score(dataset, tmp_path / "nowhere", ".nii.gz", split) == (0, 0.0)
