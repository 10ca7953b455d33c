"""One pass over files: all problems together, and a fingerprint only of sound data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.dataset import Case, Dataset
from autoseg.data.labels import LabelScheme
from autoseg.fingerprint import scan as scan_room
from autoseg.fingerprint.record import Fingerprint
from autoseg.fingerprint.scan import scan


@pytest.fixture(autouse=True)
def small_pool(monkeypatch):
    """A million draws are enough to test with."""
    monkeypatch.setattr(scan_room, "POOL_SIZE", 1_000_000)


def write(path: Path, array: np.ndarray) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 0.5, 2.0))
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    cases = []
    for i in range(6):
        rng = np.random.default_rng(i)
        image = rng.integers(1, 500, (8 + i, 20, 22)).astype(np.int16)
        image[:, :, :2] = 0
        labels = np.zeros(image.shape, np.uint8)
        labels[2:5, 5:12, 6:15] = 1
        labels[3, 6:9, 7:9] = 3
        cases.append(
            Case(
                id=f"case{i}",
                images=(write(tmp_path / f"case{i}_0000.nii.gz", image),),
                label=write(tmp_path / f"case{i}.nii.gz", labels),
            )
        )
    return Dataset(
        name="test",
        folder=tmp_path,
        layout="nnunet",
        channels=("T1",),
        labels=LabelScheme(names={"background": 0, "a": 1, "b": 3}),
        file_ending=".nii.gz",
        label_ending=".nii.gz",
        training=tuple(cases),
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sound_dataset_is_measured(dataset, workers):
    result = scan(dataset, workers=workers)

    assert result.problems == ()
    fingerprint = result.fingerprint
    assert (fingerprint.dimension, fingerprint.outputs, fingerprint.labels_with_background) == (3, 3, 3)
    assert [case.id for case in fingerprint.cases] == [f"case{i}" for i in range(6)]
    assert [case.shape_after_crop for case in fingerprint.cases] == [(8 + i, 20, 20) for i in range(6)]
    assert fingerprint.median_relative_size == pytest.approx(20 / 22)
    assert {case.class_voxels["b"] for case in fingerprint.cases} == {6}
    assert fingerprint.cases[0].class_volumes["b"] == pytest.approx(3.0)
    assert fingerprint.cases[0].spacing == (2.0, 0.5, 0.5)
    assert 230 < fingerprint.intensities[0].mean < 270
    assert any("anisotropic" in warning for warning in fingerprint.warnings)


def test_the_number_of_workers_changes_nothing(dataset):
    assert scan(dataset, workers=1) == scan(dataset, workers=3)


def test_a_fingerprint_survives_its_file(dataset, tmp_path):
    fingerprint = scan(dataset, workers=1).fingerprint
    fingerprint.save(tmp_path / "fingerprint.json")

    assert Fingerprint.load(tmp_path / "fingerprint.json") == fingerprint


def test_regions_and_ignore_count_as_nnunet_counts_the_label_table(dataset):
    scheme = LabelScheme(
        names={"background": 0}, regions={"whole": (1, 3), "core": (3,)}, region_order=(1, 3), ignore=7
    )
    fingerprint = scan(dataset.model_copy(update={"labels": scheme}), workers=1).fingerprint

    assert fingerprint.outputs == 2
    assert fingerprint.labels_with_background == 4


def test_all_errors_are_reported_and_nothing_is_measured(dataset):
    dataset.training[1].images[0].write_bytes(b"broken")
    write(dataset.training[4].label, np.full((12, 20, 22), 2, np.uint8))

    result = scan(dataset, workers=2)

    assert result.fingerprint is None
    codes = [(problem.code, Path(problem.file).name) for problem in result.problems]
    assert ("unreadable", "case1_0000.nii.gz") in codes
    assert any(name == "case4.nii.gz" for _, name in codes)


def test_labels_without_any_foreground_are_an_error(dataset):
    for i, case in enumerate(dataset.training):
        write(case.label, np.zeros((8 + i, 20, 22), np.uint8))

    result = scan(dataset, workers=1)

    assert result.fingerprint is None
    assert result.problems[-1].what == "no case has any foreground"


def test_an_empty_dataset_has_problems_and_no_fingerprint(dataset):
    result = scan(dataset.model_copy(update={"training": ()}), workers=2)

    assert result.fingerprint is None
    assert any("too few cases" in problem.what for problem in result.problems)


def test_a_case_without_a_label_is_measured_over_its_nonzero_region(dataset: Dataset) -> None:
    bare = dataset.model_copy(update={"training": tuple(case.with_(label=None) for case in dataset.training)})
    labelled, found = scan(dataset, workers=1).fingerprint, scan(bare, workers=1).fingerprint
    assert labelled is not None
    assert found is not None
    assert [case.crop_box for case in found.cases] == [case.crop_box for case in labelled.cases]
    assert all(case.class_voxels == {} for case in found.cases)
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(dataset.training[0].images[0])))
    first = found.cases[0].intensities[0]
    assert first is not None
    assert first.mean == pytest.approx(array[array != 0].mean(), rel=1e-3)
