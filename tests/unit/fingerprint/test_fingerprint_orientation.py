"""Which axis of an image runs from left to right, from headers as ITK writes them."""

from __future__ import annotations

from math import cos, radians, sin
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.files import read_image
from autoseg.data.image import Geometry
from autoseg.fingerprint.measure import left_right_axis
from autoseg.fingerprint.record import CaseFingerprint, Fingerprint


def case(identifier: str, axis: int | None) -> CaseFingerprint:
    return CaseFingerprint(
        id=identifier, shape=(4, 4, 4), spacing=(1.0, 1.0, 1.0), crop_box=((0, 4), (0, 4), (0, 4)), relative_size=1.0,
        intensities=(None,), class_voxels={"organ": 3, "lesion": 0}, class_volumes={"organ": 3.0, "lesion": 0.0},
        left_right_axis=axis,
    )  # fmt: skip


def fingerprint(*axes: int | None) -> Fingerprint:
    return Fingerprint(
        name="phantom", dimension=3, channels=("CT",), outputs=3, labels_with_background=3, intensities=(),
        cases=tuple(case(f"case_{i}", axis) for i, axis in enumerate(axes)), median_relative_size=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("orientation", "axis"),
    [("LPS", 2), ("RAI", 2), ("RAS", 2), ("PIR", 0), ("ASL", 0), ("SRA", 1), ("IPL", 0), ("PLI", 1)],
)
def test_anatomical_orientations(orientation: str, axis: int, tmp_path: Path) -> None:
    # the letters are the directions of ITK's x, y and z index, so the place of L or R counted from the end
    assert axis == 2 - next(i for i, letter in enumerate(orientation) if letter in "LR")
    image = sitk.DICOMOrient(sitk.Image(5, 6, 7, sitk.sitkInt16), orientation)
    sitk.WriteImage(image, str(tmp_path / "image.nrrd"))
    assert left_right_axis(read_image(tmp_path / "image.nrrd").geometry) == axis


@pytest.mark.parametrize(("degrees", "axis"), [(0, 2), (44, 2), (46, 1), (90, 1), (180, 2)])
def test_oblique_images_take_the_nearest_axis(degrees: float, axis: int) -> None:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    assert left_right_axis(Geometry(direction=((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)))) == axis


def test_an_axis_that_is_45_degrees_off_all_three_is_none() -> None:
    vector = np.array([1.0, 1.0, 1.0]) / np.sqrt(3)
    basis, _ = np.linalg.qr(np.column_stack([vector, [1, 0, 0], [0, 1, 0]]))
    rows = basis.T[[1, 2, 0]]  # world x is equally far from all array axes
    assert left_right_axis(Geometry(direction=tuple(tuple(row) for row in rows.tolist()))) is None


def test_of_a_picture_it_is_x() -> None:
    assert left_right_axis(Geometry.plane()) == 2


def test_cases_must_agree() -> None:
    assert fingerprint(2, 2).left_right_axis == 2
    assert fingerprint(2, 1).left_right_axis is None
    assert fingerprint(2, None).left_right_axis is None
    assert fingerprint(None).left_right_axis is None
    assert fingerprint().left_right_axis is None


def test_fingerprints_of_earlier_versions_do_not_know_it(tmp_path: Path) -> None:
    values = fingerprint(2, 2).model_dump(mode="json")
    for item in values["cases"]:
        del item["left_right_axis"]
    assert Fingerprint.from_mapping(values).left_right_axis is None
    fingerprint(2, 2).save(tmp_path / "fingerprint.json")
    assert Fingerprint.load(tmp_path / "fingerprint.json").left_right_axis == 2


def test_classes_are_those_with_voxels() -> None:
    assert fingerprint(2).classes == {"case_0": frozenset({"organ"})}
