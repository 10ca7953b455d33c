"""A trained model and images stored in other orientations; data sets of mixed ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from autoseg import pipeline
from autoseg.data.discovery import discover
from autoseg.fingerprint.scan import scan
from autoseg.plan.record import Plan
from autoseg.preprocessing.prepare import preprocess_dataset
from autoseg.workspace import Run

CODES = ("LPS", "RAS", "SPR", "ASL", "PIR", "IRA")


def stored_as(path: Path, code: str) -> nib.Nifti1Image:
    return turned_to(nib.load(path), code)


def turned_to(image: nib.Nifti1Image, code: str) -> nib.Nifti1Image:
    turned = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(tuple(code))))
    turned.set_sform(turned.affine, 1)
    turned.set_qform(turned.affine, 1)
    return turned


def test_the_segmentation_does_not_depend_on_how_the_image_is_stored(
    trained: Run, phantom: Path, tmp_path: Path
) -> None:
    original = sorted((phantom / "imagesTr").glob("*_0000.nii.gz"))[0]
    (tmp_path / "images").mkdir()
    for code in CODES:
        nib.save(stored_as(original, code), tmp_path / "images" / f"{code}.nii.gz")

    assert pipeline.predict(trained.root, [tmp_path / "images"], tmp_path / "out", save_probabilities=True) == []

    found: dict[str, np.ndarray] = {}
    for code in CODES:
        given, labels = nib.load(tmp_path / "images" / f"{code}.nii.gz"), nib.load(tmp_path / "out" / f"{code}.nii.gz")
        assert np.array_equal(given.affine, labels.affine)
        probabilities = np.load(tmp_path / "out" / f"{code}.npz")["probabilities"].astype(np.float32)
        image = nib.Nifti1Image(np.moveaxis(probabilities, 0, -1).transpose(2, 1, 0, 3), labels.affine)
        found[code] = np.asarray(turned_to(image, "LPS").dataobj)
    assert found["LPS"].std() > 0
    for code in CODES:
        assert np.array_equal(found[code], found["LPS"]), code


@pytest.fixture
def mixed(phantom: Path, tmp_path: Path) -> Path:
    """The phantom with every third case, and the labels of every second, stored otherwise."""
    folder = tmp_path / "mixed"
    shutil.copytree(phantom, folder)
    for number, path in enumerate(sorted((folder / "imagesTr").glob("*.nii.gz"))):
        if number % 3 == 0:
            nib.save(stored_as(path, "SPR"), path)
    for number, path in enumerate(sorted((folder / "labelsTr").glob("*.nii.gz"))):
        if number % 2 == 0:
            nib.save(stored_as(path, "ASL"), path)
    return folder


def test_mixed_orientations_are_planned_and_prepared_as_uniform_ones(
    mixed: Path, phantom: Path, prepared: Run, tmp_path: Path
) -> None:
    uniform, turned = (scan(discover(folder), workers=0) for folder in (phantom, mixed))
    assert turned.fingerprint is not None
    assert uniform.fingerprint is not None
    assert turned.fingerprint.orientation == uniform.fingerprint.orientation == "SPL"
    for one, other in zip(uniform.fingerprint.cases, turned.fingerprint.cases, strict=True):
        assert one.crop_box == other.crop_box
        assert one.shape == other.shape
        assert np.allclose(one.spacing, other.spacing)
        assert one.class_voxels == other.class_voxels
    codes = {problem.code for problem in turned.problems}
    assert {"mixed-orientations", "other-axes"} <= codes
    assert not any(problem.severity == "error" for problem in turned.problems)

    plan = Plan.load(prepared.plan)
    name = next(iter(plan.configurations))
    stores = [
        preprocess_dataset(discover(folder), plan, name, tmp_path / where, scanned.fingerprint, workers=0)
        for folder, where, scanned in ((phantom, "one", uniform), (mixed, "other", turned))
    ]
    for case in discover(phantom).identifiers:
        (data, labels), (turned_data, turned_labels) = (store.read(case) for store in stores)
        assert np.array_equal(data, turned_data)
        assert np.array_equal(labels, turned_labels)
