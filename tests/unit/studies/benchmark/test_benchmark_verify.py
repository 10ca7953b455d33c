"""What differs between a folder and a specification is said exactly, and nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from challenge_folders import SHAPE, blobs, specification, volume

from autoseg.errors import DatasetError
from autoseg.studies.benchmark.reading import label_digest
from autoseg.studies.benchmark.specification import Specification
from autoseg.studies.benchmark.verify import verify

NAMES = tuple(f"case_{number}" for number in range(1, 6))
LAYOUT = {"alternatives": [{"images": ["{case}/t1.nii.gz"], "label": "{case}/seg.nii.gz"}]}
CASES = {
    "training": 5, "identifiers": ["case_{1-5}"], "smallest_shape": [3, 4, 5], "largest_shape": [4, 4, 5],
    "smallest_spacing": [2.0, 1.0, 1.0], "largest_spacing": [3.0, 1.0, 1.0], "source": "paper",
}  # fmt: skip


def write_case(data: Path, name: str, *, shape: tuple[int, int, int] = SHAPE, z: float = 2.0, seed: int = 0) -> None:
    volume(data / name / "t1.nii.gz", blobs(range(9), shape).astype(np.int16), (z, 1.0, 1.0))
    volume(data / name / "seg.nii.gz", blobs(shape=shape, seed=seed), (z, 1.0, 1.0))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for seed, name in enumerate(NAMES):
        write_case(tmp_path, name, seed=seed)
    return tmp_path


def toy(**changes: Any) -> Specification:
    hashes = {name: label_digest(blobs(seed=seed)) for seed, name in enumerate(NAMES)}
    return specification(LAYOUT, **{"cases": CASES, "label_hashes": hashes, **changes})


def texts(made: Specification, data: Path, **options: Any) -> list[str]:
    return [str(one) for one in verify(made, data, **options)]


def test_what_was_published_has_no_difference(data: Path) -> None:
    assert verify(toy(), data) == ()


def test_two_missing_cases_and_a_changed_label_are_said_exactly(data: Path) -> None:
    for name in ("case_2", "case_4"):
        for file in (data / name).iterdir():
            file.unlink()
    changed = blobs(seed=2)
    changed[0, 0, 0] = (changed[0, 0, 0] + 1) % 3
    volume(data / "case_3" / "seg.nii.gz", changed, (2.0, 1.0, 1.0))
    assert texts(toy(), data) == [
        "2 cases are missing: case_2, case_4.",
        "The label of case case_3 is not the published one: voxels were changed.",
    ]
    assert texts(toy(), data, voxels=False) == ["2 cases are missing: case_2, case_4."]


def test_workers_find_the_same(data: Path) -> None:
    volume(data / "case_3" / "seg.nii.gz", blobs(seed=9), (2.0, 1.0, 1.0))
    assert verify(toy(), data, workers=2) == verify(toy(), data)


def test_extra_cases_and_missing_files_are_named(data: Path) -> None:
    write_case(data, "case_9")
    (data / "case_1" / "seg.nii.gz").unlink()
    assert texts(toy(), data) == [
        "1 case is not published: case_9.",
        "Case case_1 is incomplete: case_1/seg.nii.gz is not there.",
    ]


def test_without_identifiers_cases_are_counted(data: Path) -> None:
    made = toy(cases={"training": 7, "source": "paper"}, label_hashes={})
    assert texts(made, data) == ["There are 5 cases, and 7 were published."]


def test_shapes_spacings_and_values_are_compared(data: Path) -> None:
    write_case(data, "case_1", shape=(5, 4, 5), z=4.0)
    volume(data / "case_2" / "seg.nii.gz", blobs((0, 1, 2, 9)), (2.0, 1.0, 1.0))
    volume(data / "case_3" / "seg.nii.gz", blobs(shape=(3, 4, 4)), (2.0, 1.0, 1.0))
    (data / "case_4" / "t1.nii.gz").write_bytes(b"nothing")
    made = toy(label_hashes={})
    assert [(one.kind, one.cases) for one in verify(made, data)] == [
        ("shape", ("case_1",)),
        ("spacing", ("case_1",)),
        ("label-values", ("case_2",)),
        ("label-shape", ("case_3",)),
        ("unreadable", ("case_4",)),
    ]
    said = texts(made, data)
    assert said[0] == "The image of case case_1 has the shape 5 x 4 x 5, and 3 x 4 x 5 to 4 x 4 x 5 were published."
    assert said[2] == "The label of case case_2 has the value 9, and only 0, 1, 2 were published."


def test_channels_and_dimension_are_compared(data: Path) -> None:
    flat = toy(dimension=2, cases={"training": 5, "source": "paper"}, label_hashes={})
    assert {one.kind for one in verify(flat, data)} == {"dimension"}
    two = specification(
        {"alternatives": [{"images": ["{case}/t1.nii.gz"], "label": "{case}/seg.nii.gz"}]},
        channels=[{"name": "a"}, {"name": "b"}], cases={"training": 5, "source": "paper"},
    )  # fmt: skip
    assert {one.kind for one in verify(two, data)} == {"channels"}


def test_a_decathlon_folder_says_which_cases_it_lacks(tmp_path: Path) -> None:
    training = []
    for name in NAMES:
        volume(tmp_path / "imagesTr" / f"{name}.nii.gz", blobs(range(9)).astype(np.int16))
        volume(tmp_path / "labelsTr" / f"{name}.nii.gz", blobs())
        training.append({"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"})
    description = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "a", "2": "b"}, "training": training}
    (tmp_path / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder / "case_2.nii.gz").unlink()
    (tmp_path / "labelsTr" / "case_4.nii.gz").unlink()
    made = specification({"form": "msd"}, cases={"training": 5, "identifiers": ["case_{1-5}"], "source": "paper"})
    assert texts(made, tmp_path) == [
        "1 case is missing: case_2.",
        "Case case_4 is incomplete: the label of imagesTr/case_4.nii.gz is not there.",
    ]


def test_a_folder_without_cases_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no case of Toy challenge"):
        verify(toy(), tmp_path)


def test_the_digest_is_of_content_alone(tmp_path: Path) -> None:
    labels = np.array([[[0, 1], [2, 0]]], np.uint8)
    assert label_digest(labels) == hashlib.sha256(b"1 2 2\n\x00\x01\x02\x00").hexdigest()
    assert label_digest(labels.astype(np.int32)) == label_digest(np.asfortranarray(labels)) == label_digest(labels)
    assert label_digest(labels.transpose(0, 2, 1)) != label_digest(labels)
    assert label_digest(labels.reshape(2, 2, 1)) != label_digest(labels)
