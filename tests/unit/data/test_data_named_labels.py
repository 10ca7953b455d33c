"""Data sets whose label files name their structures: found, checked, and measured as the same labels in NIfTI files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_labels import segmentation, series, structure_set, to_patient, write_series

from autoseg.data.discovery import discover
from autoseg.data.listing import list_images, list_labels
from autoseg.errors import DatasetError
from autoseg.fingerprint.scan import Scan, scan

SHAPE = (8, 20, 24)
NAMES = ("Liver", "Spleen", "Tumour")
CASES = ("a", "b", "c")


def masks_of(case: str) -> dict[str, np.ndarray]:
    """Of each case other boxes; the tumour lies in the liver, and the last case has none and no spleen."""
    shift = CASES.index(case)
    masks = {name: np.zeros(SHAPE, bool) for name in NAMES}
    masks["Liver"][2:6, 3 : 12 + shift, 4:14] = True
    if case != "c":
        masks["Spleen"][3:7, 14:18, 16 : 20 + shift] = True
        masks["Tumour"][3:5, 5:8, 6:10] = True
    return masks


def image_of(case: str) -> np.ndarray:
    noise = np.random.default_rng(ord(case)).integers(0, 100, SHAPE)
    noisy: np.ndarray = noise + 200 * np.any(list(masks_of(case).values()), axis=0)
    return noisy.astype(np.int16)


def write(path: Path, array: np.ndarray) -> None:
    """In the place of the series."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 0.75, 2.5))
    image.SetOrigin((-10, 20, 30))
    sitk.WriteImage(image, str(path))


def present(case: str) -> dict[str, np.ndarray]:
    return {name: mask for name, mask in masks_of(case).items() if mask.any()}


def as_slicer(case: str, labels: Path) -> None:
    """Liver and spleen in a layer, the tumour in another; cropped to the segments."""
    masks = masks_of(case)
    layers = np.stack([masks["Liver"] + 2 * masks["Spleen"], 3 * masks["Tumour"]], axis=-1).astype(np.uint8)
    image = sitk.GetImageFromArray(layers[2:, 3:, 4:], isVector=True)
    image.SetSpacing((0.5, 0.75, 2.5))
    image.SetOrigin((-10 + 4 * 0.5, 20 + 3 * 0.75, 30 + 2 * 2.5))
    for number, name in enumerate(NAMES):
        fields = {"ID": f"Segment_{number}", "Name": name, "LabelValue": number + 1, "Layer": int(name == "Tumour")}
        for key, value in fields.items():
            image.SetMetaData(f"Segment{number}_{key}", str(value))
    labels.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(labels / f"{case}.seg.nrrd"))


def as_segmentation(case: str, labels: Path) -> None:
    labels.mkdir(exist_ok=True)
    made = segmentation(series(image_of(case)), present(case))
    made.save_as(labels / f"{case}.dcm", enforce_file_format=True)


def as_structures(case: str, labels: Path) -> None:
    """Outlines of the boxes, half a voxel outside their outermost centres."""
    contours: dict[str, list[np.ndarray]] = {}
    for name, mask in present(case).items():
        for level in np.flatnonzero(mask.any(axis=(1, 2))):
            rows, columns = np.nonzero(mask[level])
            top, bottom, left, right = rows.min() - 0.5, rows.max() + 0.5, columns.min() - 0.5, columns.max() + 0.5
            corners = [(level, top, left), (level, top, right), (level, bottom, right), (level, bottom, left)]
            contours.setdefault(name, []).append(to_patient(np.array(corners, float)))
    (labels / case).mkdir(parents=True)
    structure_set(contours).save_as(labels / case / "RS.dcm", enforce_file_format=True)


def as_masks(case: str, labels: Path) -> None:
    for name, mask in present(case).items():
        write(labels / case / f"{name}.nii.gz", mask.astype(np.uint8))


def dataset(folder: Path, label: Callable[[str, Path], None], *, dicom: bool) -> Path:
    for case in CASES:
        if dicom:
            write_series(folder / "images" / case, series(image_of(case)))
        else:
            write(folder / "images" / f"{case}.nii.gz", image_of(case))
        label(case, folder / "labels")
    return folder


def measured(folder: Path) -> tuple[Scan, dict[str, dict[str, int]]]:
    found = scan(discover(folder), workers=1)
    assert found.fingerprint is not None, found.problems
    return found, {case.id: case.class_voxels for case in found.fingerprint.cases}


EXPECTED = {case: {name: int(mask.sum()) for name, mask in masks_of(case).items()} for case in CASES}


@pytest.mark.parametrize("dicom", [True, False])
@pytest.mark.parametrize("label", [as_slicer, as_segmentation, as_structures, as_masks])
def test_files_that_name_structures_are_the_labels_of_their_cases(
    tmp_path: Path, label: Callable[[str, Path], None], dicom: bool
) -> None:
    folder = dataset(tmp_path, label, dicom=dicom)
    found = discover(folder)
    assert found.identifiers == CASES
    assert found.unmatched_images == found.unmatched_labels == found.ignored == ()
    assert list(found.labels.regions) == ["Liver", "Spleen", "Tumour"]  # from the largest to the smallest
    assert found.label_ending == ".nii.gz"
    assert any("overlap in 2 files" in warning for warning in found.warnings)
    result, voxels = measured(folder)
    assert voxels == EXPECTED
    assert not [problem for problem in result.problems if problem.severity == "error"]


def test_a_description_gives_names_their_values(tmp_path: Path) -> None:
    """Of nnU-Net's layout; what it does not name is told and passed over."""
    for case in CASES:
        write(tmp_path / "imagesTr" / f"{case}_0000.nii.gz", image_of(case))
        as_masks(case, tmp_path / "labelsTr")
    description = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "spleen": 1, "LIVER": 2}, "numTraining": 3}
    (tmp_path / "dataset.json").write_text(json.dumps({**description, "file_ending": ".nii.gz"}), encoding="utf-8")
    result, voxels = measured(tmp_path)
    assert {case: sorted(counts) for case, counts in voxels.items()} == {case: ["LIVER", "spleen"] for case in CASES}
    assert [voxels[case]["LIVER"] for case in CASES] == [EXPECTED[case]["Liver"] for case in CASES]
    told = [problem for problem in result.problems if problem.code == "unnamed-structures"]
    assert {problem.got for problem in told} == {"Tumour"}


def test_structures_that_no_label_has_are_told_by_the_check(tmp_path: Path) -> None:
    for case in CASES:
        write(tmp_path / "imagesTr" / f"{case}.nii.gz", image_of(case))
        as_masks(case, tmp_path / "labelsTr")
    entries = [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}"} for case in CASES]
    description = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "heart"}, "training": entries}
    (tmp_path / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    found = scan(discover(tmp_path), workers=1)
    assert [problem.code for problem in found.problems if problem.severity == "error"] == ["structures"] * 3


def test_a_segmentation_lies_beside_its_image(tmp_path: Path) -> None:
    for case in CASES:
        write(tmp_path / f"{case}.nrrd", image_of(case))
        as_slicer(case, tmp_path)
    assert discover(tmp_path).identifiers == CASES
    assert discover(tmp_path).label_ending == ".nrrd"
    assert measured(tmp_path)[1] == EXPECTED
    assert [path.name for path in list_images(tmp_path).images] == ["a.nrrd", "b.nrrd", "c.nrrd"]


def test_other_folders_among_the_labels_are_passed_over(tmp_path: Path) -> None:
    dataset(tmp_path, as_masks, dicom=False)
    write(tmp_path / "labels" / "backup" / "a.nii.gz", np.zeros(SHAPE, np.uint8))
    (tmp_path / "labels" / "notes").mkdir()
    found = discover(tmp_path)
    assert found.unmatched_labels == ()
    assert found.ignored == (tmp_path / "labels" / "backup", tmp_path / "labels" / "notes")
    assert [path.name for path in list_labels(tmp_path / "labels").images] == ["a", "b", "backup", "c"]


def test_names_in_some_files_and_values_in_others_need_a_description(tmp_path: Path) -> None:
    dataset(tmp_path, as_masks, dicom=False)
    write(tmp_path / "images" / "d.nii.gz", image_of("a"))
    write(tmp_path / "labels" / "d.nii.gz", masks_of("a")["Liver"].astype(np.uint8))
    with pytest.raises(DatasetError, match="some label files name their structures"):
        discover(tmp_path)


def test_an_overlap_of_a_few_voxels_is_told_by_its_names(tmp_path: Path) -> None:
    for case in CASES:
        write(tmp_path / "images" / f"{case}.nii.gz", image_of(case))
        masks = masks_of("a")
        masks["Spleen"][3, 6, 13] = case == "b"
        for name in ("Liver", "Spleen"):
            write(tmp_path / "labels" / case / f"{name}.nii.gz", masks[name].astype(np.uint8))
    (stray,) = [problem for problem in scan(discover(tmp_path), workers=1).problems if problem.code == "stray-values"]
    assert str(stray.got).startswith("Liver + Spleen: 1 voxel")
    assert stray.remedy == "correct the labels, or name the structures that are classes: a dataset.json"


def test_a_label_that_lies_elsewhere_is_told_by_the_check(tmp_path: Path) -> None:
    dataset(tmp_path, as_slicer, dicom=False)
    path = tmp_path / "labels" / "b.seg.nrrd"
    image = sitk.ReadImage(str(path))
    image.SetSpacing((0.6, 0.75, 2.5))
    sitk.WriteImage(image, str(path))
    found = scan(discover(tmp_path), workers=1)
    assert [(problem.code, Path(problem.file).name) for problem in found.problems if problem.severity == "error"] == [
        ("structures", "b.seg.nrrd")
    ]
