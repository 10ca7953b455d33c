"""Each kind of layout becomes a data set: the cases found, the label values, what is linked and what is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from challenge_folders import SHAPE, blobs, picture, specification, stack, volume

from autoseg.data.dataset import Dataset
from autoseg.data.discovery import discover
from autoseg.data.files import read_case, read_labels
from autoseg.data.splits import make_splits
from autoseg.errors import AutosegError, DatasetError
from autoseg.studies.benchmark.convert import convert, split_rule
from autoseg.studies.benchmark.layout import find_cases
from autoseg.studies.benchmark.specification import Specification

SIDE_BY_SIDE = {"alternatives": [{"images": ["{case}/t1.nii.gz"], "label": "{case}/seg.nii.gz"}]}
CASES = ("a", "b", "c")


def side_by_side(data: Path, values: Sequence[int] = (0, 1, 2)) -> dict[str, np.ndarray]:
    """Three cases in folders of their own; their labels."""
    for name in CASES:
        volume(data / name / "t1.nii.gz", blobs(range(9), seed=len(name)).astype(np.int16))
    return {name: volume(data / name / "seg.nii.gz", blobs(values, seed=i)) for i, name in enumerate(CASES)}


def converted(made: Specification, data: Path, out: Path) -> Dataset:
    return discover(convert(made, data, out))


def labels_of(dataset: Dataset) -> dict[str, np.ndarray]:
    return {case.id: read_labels(case.label).array[0] for case in dataset.training if case.label is not None}


def test_files_that_fit_are_linked(tmp_path: Path) -> None:
    labels = side_by_side(tmp_path / "data")
    dataset = converted(specification(SIDE_BY_SIDE), tmp_path / "data", tmp_path / "out")
    assert dataset.identifiers == CASES
    assert dataset.channels == ("T1",)
    assert list(dataset.labels.names) == ["background", "front", "back"]
    for name, label in labels_of(dataset).items():
        np.testing.assert_array_equal(label, labels[name])
    files = [path for folder in ("imagesTr", "labelsTr") for path in (tmp_path / "out" / folder).iterdir()]
    assert len(files) == 6
    assert all(path.is_symlink() for path in files)


def test_label_values_follow_the_table(tmp_path: Path) -> None:
    raw = side_by_side(tmp_path / "data", values=(0, 1, 2, 4))
    labels = {
        "names": {"background": 0, "edema": 1, "necrosis": 2, "enhancing": 3},
        "file_values": {"0": 0, "1": 2, "2": 1, "4": 3},
    }
    dataset = converted(specification(SIDE_BY_SIDE, labels=labels), tmp_path / "data", tmp_path / "out")
    table = np.array([0, 2, 1, 99, 3])
    for name, label in labels_of(dataset).items():
        np.testing.assert_array_equal(label, table[raw[name]])


def test_several_channels_and_placeholders(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for patient, frame in (("p1", "01"), ("p1", "12"), ("p2", "01")):
        stem = f"{patient}_f{frame}"
        volume(data / "train" / patient / f"{stem}_b.nii.gz", np.full(SHAPE, 2, np.int16))
        volume(data / "train" / patient / f"{stem}_a.nii.gz", np.full(SHAPE, 1, np.int16))
        volume(data / "train" / patient / f"{stem}_gt.nii.gz", blobs())
    volume(data / "train" / "p1" / "p1_4d_a.nii.gz", blobs())
    alternative = {
        "images": ["train/{patient}/{case}_a.nii.gz", "train/{patient}/{case}_b.nii.gz"],
        "label": "train/{patient}/{case}_gt.nii.gz",
        "where": {"case": r"p\d_f\d\d"},
    }
    made = specification({"alternatives": [alternative]}, channels=[{"name": "A"}, {"name": "B"}])
    dataset = converted(made, data, tmp_path / "out")
    assert dataset.identifiers == ("p1_f01", "p1_f12", "p2_f01")
    image = read_case(dataset.training[0], 2)
    assert [int(channel.max()) for channel in image.array] == [1, 2]


def test_the_alternative_with_most_cases_is_taken(tmp_path: Path) -> None:
    side_by_side(tmp_path / "data" / "release")
    alternatives = [
        {"images": ["{case}/t1.nii.gz"], "label": "{case}/seg.nii.gz"},
        {"images": ["release/{case}/t1.nii.gz"], "label": "release/{case}/seg.nii.gz"},
    ]
    cases = find_cases(specification({"alternatives": alternatives}), tmp_path / "data")
    assert [case.id for case in cases] == list(CASES)


def test_formats_of_two_files_are_written_anew(tmp_path: Path) -> None:
    data = tmp_path / "data"
    labels = {}
    for i in range(3):
        volume(data / f"Case0{i}.mhd", blobs(range(9), seed=i).astype(np.int16), (2.0, 0.5, 0.5))
        labels[f"Case0{i}"] = volume(data / f"Case0{i}_segmentation.mhd", blobs(seed=i), (2.0, 0.5, 0.5))
    alternative = {
        "images": ["{case}.mhd"], "label": "{case}_segmentation.mhd", "where": {"case": r"Case\d\d"},
    }  # fmt: skip
    dataset = converted(specification({"alternatives": [alternative], "ending": ".nii.gz"}), data, tmp_path / "out")
    for case in dataset.training:
        assert read_case(case).geometry.spacing == (2.0, 0.5, 0.5)
        np.testing.assert_array_equal(read_labels(case.label).array[0], labels[case.id])  # type: ignore[arg-type]


def test_masks_of_instances_become_one_label(tmp_path: Path) -> None:
    data = tmp_path / "data"
    rng = np.random.default_rng(0)
    expected = {}
    for name in CASES:
        picture(data / name / "images" / f"{name}.png", rng.integers(0, 255, (6, 7, 3), np.uint8))
        masks = [(rng.random((6, 7)) < 0.2).astype(np.uint8) * 255 for _ in range(3)]
        for i, mask in enumerate(masks):
            picture(data / name / "masks" / f"{i}.png", mask)
        expected[name] = np.any(masks, axis=0)[None]
    alternative = {"images": ["{case}/images/{case}.png"], "masks": {"nucleus": ["{case}/masks/*.png"]}}
    colours = [{"name": colour, "normalization": "rgb"} for colour in ("red", "green", "blue")]
    made = specification(
        {"alternatives": [alternative], "ending": ".png"},
        labels={"names": {"background": 0, "nucleus": 1}}, channels=colours, dimension=2,
    )  # fmt: skip
    dataset = converted(made, data, tmp_path / "out")
    for name, label in labels_of(dataset).items():
        np.testing.assert_array_equal(label, expected[name])
    assert read_case(dataset.training[0], 3).array.shape == (3, 1, 6, 7)


def test_later_masks_lie_over_earlier_ones_and_raw_images_shrink(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "all").mkdir(parents=True)
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8) * 100
    left, right, heart = (np.zeros((3, 4), np.uint8) for _ in range(3))
    left[:, 0] = right[:, 3] = heart[1] = 255
    for i, name in enumerate(CASES):
        (data / "all" / f"{name}.IMG").write_bytes((pixels + i).astype(">u2").tobytes())
        for part, mask in (("left lung", left), ("right lung", right), ("heart", heart)):
            picture(data / f"fold{1 + i % 2}" / part / f"{name}.gif", mask)
    alternative = {
        "images": ["all/{case}.IMG"],
        "masks": {"lungs": ["fold*/left lung/{case}.gif", "fold*/right lung/{case}.gif"],
                  "heart": ["fold*/heart/{case}.gif"]},
    }  # fmt: skip
    layout = {
        "alternatives": [alternative], "ending": ".tif", "raw": {"shape": [6, 8], "dtype": ">u2"}, "shrink": 2,
        "spacing": [0.35, 0.35],
    }  # fmt: skip
    made = specification(layout, labels={"names": {"background": 0, "lungs": 1, "heart": 2}}, dimension=2)
    dataset = converted(made, data, tmp_path / "out")
    image = read_case(dataset.training[1])
    assert image.geometry.spacing[1:] == pytest.approx((0.35, 0.35))
    blocks = (pixels + 1).reshape(3, 2, 4, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(image.array[0, 0], np.rint(blocks).astype(np.uint16))
    expected = [[1, 0, 0, 1], [2, 2, 2, 2], [1, 0, 0, 1]]
    for label in labels_of(dataset).values():
        np.testing.assert_array_equal(label[0], expected)


def test_pages_of_a_stack_are_cases(tmp_path: Path) -> None:
    data = tmp_path / "data"
    images = stack(data / "volume.tif", blobs(range(200), (4, 20, 30)))
    labels = stack(data / "labels.tif", blobs((0, 255), (4, 20, 30)))
    layout = {
        "alternatives": [{"images": ["volume.tif"], "label": "labels.tif"}], "pages": True, "ending": ".tif",
        "identifier": "section_{page:02d}",
    }  # fmt: skip
    table = {"names": {"background": 0, "membrane": 1}, "file_values": {"0": 1, "255": 0}}
    dataset = converted(specification(layout, labels=table, dimension=2), data, tmp_path / "out")
    assert dataset.identifiers == tuple(f"section_{page:02d}" for page in range(4))
    for page, case in enumerate(dataset.training):
        np.testing.assert_array_equal(read_case(case).array[0, 0], images[page])
        np.testing.assert_array_equal(read_labels(case.label).array[0, 0], labels[page] == 0)  # type: ignore[arg-type]


def test_instance_labels_become_one_class(tmp_path: Path) -> None:
    data = tmp_path / "data"
    glands = {}
    for name in ("train_1", "testA_1", "testB_1"):
        picture(data / f"{name}.bmp", blobs(range(9), (6, 7, 3)))
        glands[name] = picture(data / f"{name}_anno.bmp", blobs((0, 1, 2, 7), (6, 7), seed=len(name)))
    alternative = {
        "images": ["{case}.bmp"], "label": "{case}_anno.bmp", "where": {"case": r"(?:train|testA|testB)_\d+"},
    }  # fmt: skip
    colours = [{"name": colour, "normalization": "rgb"} for colour in ("red", "green", "blue")]
    made = specification(
        {"alternatives": [alternative], "instances": True, "ending": ".png"},
        labels={"names": {"background": 0, "gland": 1}}, channels=colours, dimension=2,
        splits={"official": "85 and 80", "rule": "fixed", "validation": [["testA_*", "testB_*"]]},
    )  # fmt: skip
    dataset = converted(made, data, tmp_path / "out")
    for name, label in labels_of(dataset).items():
        np.testing.assert_array_equal(label[0], glands[name] > 0)
    splits = make_splits(dataset.identifiers, split_rule(tmp_path / "out"))
    assert [(split.train, split.validation) for split in splits] == [(("train_1",), ("testA_1", "testB_1"))]


@pytest.mark.parametrize("form", ["msd", "nnunet"])
def test_folders_with_a_dataset_json_are_read_as_they_are(form: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    suffix = "_0000" if form == "nnunet" else ""
    for name in CASES:
        volume(data / "imagesTr" / f"{name}{suffix}.nii.gz", blobs(range(9)).astype(np.int16))
        volume(data / "labelsTr" / f"{name}.nii.gz", blobs())
    description: dict[str, Any] = {"labels": {"0": "background", "1": "front", "2": "back"}, "modality": {"0": "MRI"}}
    if form == "msd":
        paths = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in CASES]
        description["training"] = paths
    (data / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    dataset = converted(specification({"form": form}), data, tmp_path / "out")
    assert dataset.identifiers == CASES
    assert all(path.is_symlink() for case in dataset.training for path in case.images)


def test_a_conversion_goes_on_where_it_stopped(tmp_path: Path) -> None:
    labels = side_by_side(tmp_path / "data", values=(0, 255))
    table = {"names": {"background": 0, "a": 1}, "file_values": {"0": 0, "255": 1}}
    made = specification(SIDE_BY_SIDE, labels=table)
    out = convert(made, tmp_path / "data", tmp_path / "out")
    (out / "dataset.json").unlink()
    (out / "labelsTr" / "b.nii.gz").unlink()
    kept = (out / "labelsTr" / "a.nii.gz").stat().st_mtime_ns
    dataset = converted(made, tmp_path / "data", out)
    np.testing.assert_array_equal(labels_of(dataset)["b"], labels["b"] == 255)
    assert (out / "labelsTr" / "a.nii.gz").stat().st_mtime_ns == kept


def test_other_contents_are_not_overwritten(tmp_path: Path) -> None:
    side_by_side(tmp_path / "data")
    convert(specification(SIDE_BY_SIDE), tmp_path / "data", tmp_path / "out")
    with pytest.raises(DatasetError, match="another conversion"):
        convert(specification(SIDE_BY_SIDE, name="other"), tmp_path / "data", tmp_path / "out")
    convert(specification(SIDE_BY_SIDE, download="elsewhere"), tmp_path / "data", tmp_path / "out")
    with pytest.raises(DatasetError, match="not empty"):
        convert(specification(SIDE_BY_SIDE), tmp_path / "data", tmp_path / "data")


def test_unknown_values_are_reported_of_all_cases(tmp_path: Path) -> None:
    side_by_side(tmp_path / "data", values=(0, 1, 7))
    table = {"names": {"background": 0, "a": 1}, "file_values": {"0": 0, "1": 1}}
    with pytest.raises(AutosegError) as caught:
        convert(specification(SIDE_BY_SIDE, labels=table), tmp_path / "data", tmp_path / "out")
    assert all(f"- {name}: the labels have values" in str(caught.value) for name in CASES)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_incomplete_cases_and_empty_folders_are_refused(tmp_path: Path) -> None:
    side_by_side(tmp_path / "data")
    (tmp_path / "data" / "b" / "seg.nii.gz").unlink()
    with pytest.raises(AutosegError, match=r"b/seg\.nii\.gz"):
        convert(specification(SIDE_BY_SIDE), tmp_path / "data", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no case of Toy challenge"):
        convert(specification(SIDE_BY_SIDE), tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DatasetError, match="does not exist"):
        convert(specification(SIDE_BY_SIDE), tmp_path / "nowhere", tmp_path / "out")
