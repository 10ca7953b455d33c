"""What is told of a data set as a whole: leaks between cases, mixed orientations, label values that hardly occur."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.check import compare_cases, read_and_check
from autoseg.data.dataset import Dataset, Reading
from autoseg.data.discovery import discover
from autoseg.data.files import write_image, write_labels
from autoseg.data.grouping import group_cases
from autoseg.data.image import Geometry, Image
from autoseg.data.leakage import seen_test_images
from autoseg.data.problem import CheckedCase, Problem
from autoseg.errors import DatasetError

SHAPE = (6, 20, 20)


def scan(seed: int, dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 30, (1, *SHAPE)).astype(dtype)


def a_mask(*extra: tuple[int, int]) -> np.ndarray:
    """A label map with 200 voxels each of 1 and 2, and as many as asked of other values."""
    labels = np.zeros(SHAPE, np.int16)
    labels[1, :10], labels[2, :10] = 1, 2
    start = 0
    for value, voxels in extra:
        labels[5].ravel()[start : start + voxels] = value
        start += voxels
    return labels


def a_case(folder: Path, name: str, seed: int, *extra: tuple[int, int], geometry: Geometry | None = None) -> None:
    geometry = geometry or Geometry()
    write_image(folder / "images" / f"{name}.nii.gz", Image(scan(seed), geometry))
    write_labels(folder / "labels" / f"{name}.nii.gz", a_mask(*extra), geometry)


def checked(dataset: Dataset) -> list[CheckedCase]:
    return [read_and_check(case, dataset).summary() for case in dataset.training]


def problems(folder: Path, **fields: object) -> dict[str, list[Problem]]:
    dataset = discover(folder, **fields)  # type: ignore[arg-type]
    cases = checked(dataset)
    found: dict[str, list[Problem]] = {}
    for problem in [*(one for case in cases for one in case.problems), *compare_cases(dataset, cases)]:
        found.setdefault(problem.code, []).append(problem)
    found.pop("assumption", None)
    return found


def test_plain_data_has_none(tmp_path: Path) -> None:
    for number in range(6):
        a_case(tmp_path, f"case_{number:03d}", number)
    assert problems(tmp_path) == {}


@pytest.mark.parametrize(("values", "told"), [((1, 255), True), ((1, 1), False), ((2, 3), False)])
def test_one_class_written_in_two_ways_is_told(tmp_path: Path, values: tuple[int, int], told: bool) -> None:
    for number in range(6):
        write_image(tmp_path / "images" / f"c{number}.nii.gz", Image(scan(number), Geometry()))
        labels = (a_mask() > 0).astype(np.uint8) * values[number % 2]
        write_labels(tmp_path / "labels" / f"c{number}.nii.gz", labels, Geometry())
    found = problems(tmp_path)
    assert ("values-of-one-class" in found) == told
    if told:
        assert found["values-of-one-class"][0].got == "1 in 3 files (c0), 255 in 3 files (c1)"
    assert "values-of-one-class" not in problems(tmp_path, reading=Reading(labels=(0, *values)))


def test_values_of_few_voxels_or_one_case_are_told(tmp_path: Path) -> None:
    for number in range(8):
        extra = [(128, 1)] if number in (2, 5) else [(7, 90)] if number == 3 else []
        a_case(tmp_path, f"case_{number}", number, *extra)
    (first, second) = problems(tmp_path)["stray-values"]
    # 8 cases of 400 labelled voxels, 2 of 128 and 90 of 7
    assert (first.severity, first.file) == ("warning", str(tmp_path / "labels" / "case_3.nii.gz"))
    assert first.got == "7: 90 voxels (0.027 of the labelled ones) in 1 of 8 cases (case_3)"
    assert second.got == "128: 2 voxels (0.00061 of the labelled ones) in 2 of 8 cases (case_2, case_5)"
    assert "--labels" in (second.remedy or "")
    assert problems(tmp_path, reading=Reading(labels=(0, 1, 2, 7, 128))) == {}


def test_a_list_of_values_makes_others_errors(tmp_path: Path) -> None:
    for number in range(6):
        a_case(tmp_path, f"case_{number}", number, *([(128, 1)] if number == 2 else []))
    found = problems(tmp_path, reading=Reading(labels=(1, 2, 9)))
    assert list(found) == ["label-values"]
    (problem,) = found["label-values"]
    assert (problem.severity, problem.file) == ("error", str(tmp_path / "labels" / "case_2.nii.gz"))
    assert problem.got == "128 (1 voxel)"
    assert "--labels" in (problem.remedy or "")
    dataset = discover(tmp_path, reading=Reading(labels=(1, 2, 9)))
    assert dataset.labels.values == (0, 1, 2, 9)
    assert dataset.training[0].reading.labels == (1, 2, 9)


def test_a_list_of_values_is_refused_where_the_data_set_describes_its_labels(tmp_path: Path) -> None:
    a_case(tmp_path, "a", 0)
    text = '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ".nii.gz"}'
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DatasetError, match="describes its labels itself"):
        discover(tmp_path, reading=Reading(labels=(1, 2)))


def test_negative_values_are_errors_of_their_files(tmp_path: Path) -> None:
    for number in range(6):
        a_case(tmp_path, f"case_{number}", number, *([(-3, 6)] if number == 4 else []))
    found = problems(tmp_path)
    assert list(found) == ["negative-labels"]
    (problem,) = found["negative-labels"]
    assert (problem.severity, problem.file) == ("error", str(tmp_path / "labels" / "case_4.nii.gz"))
    assert problem.got == "-3 (6 voxels)"
    assert discover(tmp_path).labels.values == (0, 1, 2)


def test_mixed_orientations_are_counted(tmp_path: Path) -> None:
    turned = Geometry(direction=((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)))
    for number in range(6):
        a_case(tmp_path, f"case_{number}", number, geometry=turned if number in (1, 4) else None)
    (problem,) = problems(tmp_path)["mixed-orientations"]
    assert problem.severity == "warning"
    assert problem.got == "SPL in 4 cases (case_0, case_2, case_3, ...); SAR in 2 cases (case_1, case_4)"


def test_one_image_in_two_types_is_a_duplicate(tmp_path: Path) -> None:
    for number in range(6):
        a_case(tmp_path, f"case_{number}", number)
    write_image(tmp_path / "images" / "case_5.nii.gz", Image(scan(0).astype(np.float32), Geometry()))
    (problem,) = problems(tmp_path)["duplicate-images"]
    assert problem.got == "case_0, case_5"


def test_images_that_are_trained_on_and_tested(tmp_path: Path) -> None:
    for number in range(3):
        a_case(tmp_path, f"case_{number}", number)
    write_image(tmp_path / "imagesTs" / "new.nii.gz", Image(scan(9), Geometry()))
    write_image(tmp_path / "imagesTs" / "old.nii.gz", Image(scan(1).astype(np.float64), Geometry()))
    (tmp_path / "imagesTs" / "torn.nii.gz").write_bytes(b"no image")
    dataset = discover(tmp_path)
    found = seen_test_images(dataset, checked(dataset), workers=1)
    assert [(one.code, Path(one.file).name, one.severity) for one in found] == [
        ("test-image-trained-on", "old.nii.gz", "warning"),
        ("test-image-unreadable", "torn.nii.gz", "warning"),
    ]
    assert found[0].got == "the voxels of case_1"


def test_several_images_of_a_patient_are_told_with_the_pattern(tmp_path: Path) -> None:
    names = [f"patient{patient:03d}_frame{frame:02d}" for patient in range(3) for frame in (1, 12)]
    for number, name in enumerate(names):
        a_case(tmp_path, name, number)
    (problem,) = problems(tmp_path)["patient-names"]
    assert problem.severity == "warning"
    assert "3 of 3 patients (patient000_frame01, patient000_frame12)" in (problem.got or "")
    pattern = re.search("--group-by '(.+)'", problem.remedy or "")
    assert pattern is not None
    assert len(set(group_cases(names, pattern[1]).values())) == 3


def test_one_patient_identifier_in_several_cases_is_told(tmp_path: Path) -> None:
    for number in range(6):
        a_case(tmp_path, f"case_{number}", number)
    dataset = discover(tmp_path)
    cases = [replace(case, patient=f"P{number // 2}") for number, case in enumerate(checked(dataset))]
    (problem,) = [one for one in compare_cases(dataset, cases) if one.code == "patient-identifiers"]
    assert problem.got == "3 of 3 patients ('P0': case_0, case_1; 'P1': case_2, case_3; 'P2': case_4, case_5)"
    assert "--group-by" in (problem.remedy or "")
    different = [replace(case, patient=f"P{number}") for number, case in enumerate(cases)]
    assert [one.code for one in compare_cases(dataset, different)] == ["assumption"]
