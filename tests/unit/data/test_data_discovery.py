"""Each layout is recognised by looking at the folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import skimage.io

from autoseg.data.dataset import Dataset
from autoseg.data.discovery import discover, find_cases
from autoseg.errors import ConfigurationError, DatasetError

MSD = {"name": "Task", "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "front", "2": "back"}}
NNUNET = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ".nii.gz"}


def volume(path: Path, values: Iterable[int] = (0, 1, 2)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.resize(np.array(list(values), np.int16), (3, 4, 5))
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


def picture(path: Path, values: Iterable[int] = (0, 1, 2), *, colour: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.resize(np.array(list(values), np.uint8), (6, 7, 3) if colour else (6, 7))
    skimage.io.imsave(path, array, check_contrast=False)
    return path


def describe(folder: Path, description: dict[str, Any], **more: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({**description, **more}), encoding="utf-8")


def decathlon(folder: Path, names: Iterable[str] = ("c", "a", "b")) -> None:
    for name in names:
        volume(folder / "imagesTr" / f"{name}.nii.gz")
        volume(folder / "labelsTr" / f"{name}.nii.gz")
    volume(folder / "imagesTs" / "t.nii.gz")
    training = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names]
    describe(folder, MSD, training=training, test=["./imagesTs/t.nii.gz"], numTraining=77)


def nnunet(folder: Path, *, channels: int = 1, ending: str = ".nii.gz", **more: Any) -> None:
    for name in ("x_1", "x_2"):
        for channel in range(channels):
            volume(folder / "imagesTr" / f"{name}_{channel:04d}{ending}")
        volume(folder / "labelsTr" / f"{name}{ending}")
    names = {str(channel): f"m{channel}" for channel in range(channels)}
    describe(folder, NNUNET, channel_names=names, file_ending=ending, **more)


def test_decathlon(tmp_path: Path) -> None:
    decathlon(tmp_path)
    dataset = discover(tmp_path)
    assert (dataset.layout, dataset.name, dataset.channels) == ("msd", "Task", ("MRI",))
    assert dataset.labels.names == {"background": 0, "front": 1, "back": 2}
    assert dataset.identifiers == ("a", "b", "c")
    assert [case.id for case in dataset.unlabelled] == ["t"]
    assert dataset.training[0].images == (tmp_path / "imagesTr" / "a.nii.gz",)
    assert dataset.training[0].label == tmp_path / "labelsTr" / "a.nii.gz"
    assert (dataset.file_ending, dataset.label_ending) == (".nii.gz", ".nii.gz")


def test_decathlon_with_nnunet_v1_channel_files(tmp_path: Path) -> None:
    decathlon(tmp_path)
    for path in list((tmp_path / "imagesTr").iterdir()):
        volume(path.with_name(path.name.replace(".nii", "_0001.nii")))
        path.rename(path.with_name(path.name.replace(".nii", "_0000.nii")))
    case = discover(tmp_path).training[0]
    assert case.id == "a"
    assert [path.name for path in case.images] == ["a_0000.nii.gz", "a_0001.nii.gz"]


def test_decathlon_keeps_what_is_missing_for_the_check(tmp_path: Path) -> None:
    decathlon(tmp_path)
    (tmp_path / "labelsTr" / "a.nii.gz").unlink()
    (tmp_path / "imagesTr" / "b.nii.gz").unlink()
    dataset = discover(tmp_path)
    assert dataset.identifiers == ("c",)
    assert [path.name for path in dataset.missing_files] == ["b.nii.gz", "a.nii.gz"]
    assert dataset.unmatched_images == (tmp_path / "imagesTr" / "a.nii.gz",)
    assert dataset.unmatched_labels == (tmp_path / "labelsTr" / "b.nii.gz",)


@pytest.mark.parametrize(
    ("training", "message"),
    [(["x"], "entry 0 of the training list"), ([{"image": "x.nii"}, {"image": "x.nii"}], "have one identifier")],
)
def test_decathlon_lists_that_are_wrong(tmp_path: Path, training: list[Any], message: str) -> None:
    describe(tmp_path, MSD, training=training)
    with pytest.raises(DatasetError, match=message):
        discover(tmp_path)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_nnunet(tmp_path: Path, channels: int, ending: str) -> None:
    nnunet(tmp_path, channels=channels, ending=ending)
    dataset = discover(tmp_path)
    assert dataset.layout == "nnunet"
    assert dataset.name == tmp_path.name
    assert dataset.identifiers == ("x_1", "x_2")
    expected = [tmp_path / "imagesTr" / f"x_1_{channel:04d}{ending}" for channel in range(channels)]
    assert list(dataset.training[0].images) == expected
    assert (dataset.file_ending, dataset.label_ending) == (ending, ending)
    assert dataset.missing_channels == {}


def test_nnunet_with_a_list_of_cases(tmp_path: Path) -> None:
    image, label = volume(tmp_path / "else" / "i.nii.gz"), volume(tmp_path / "raw" / "l.nii.gz")
    entry = {"images": [str(image)], "label": "l.nii.gz"}
    describe(tmp_path / "raw", NNUNET, dataset={"first": entry})
    dataset = discover(tmp_path / "raw")
    assert dataset.identifiers == ("first",)
    assert dataset.training[0].images == (image,)
    assert dataset.training[0].label == label
    describe(tmp_path / "raw", NNUNET, dataset={"first": {"label": "l.nii.gz"}})
    with pytest.raises(DatasetError, match="case 'first' of the dataset list"):
        discover(tmp_path / "raw")


def test_nnunet_regions_and_ignore(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "rim": 3, "ignore": 4}
    nnunet(tmp_path, labels=labels, regions_class_order=[1, 2, 3])
    scheme = discover(tmp_path).labels
    assert scheme.regions == {"whole": (1, 2, 3), "core": (2, 3), "rim": (3,)}
    assert (scheme.region_order, scheme.ignore) == ((1, 2, 3), 4)
    assert scheme.values == (0, 1, 2, 3)


def test_missing_channels_are_kept_for_the_check(tmp_path: Path) -> None:
    nnunet(tmp_path, channels=3)
    (tmp_path / "imagesTr" / "x_2_0001.nii.gz").unlink()
    dataset = discover(tmp_path)
    assert dataset.missing_channels == {"x_2": ("x_2_0001.nii.gz",)}
    assert dataset.identifiers == ("x_1", "x_2")


def test_unmatched_files_are_kept_for_the_check(tmp_path: Path) -> None:
    nnunet(tmp_path)
    extra = volume(tmp_path / "imagesTr" / "y_0000.nii.gz"), volume(tmp_path / "labelsTr" / "z.nii.gz")
    dataset = discover(tmp_path)
    assert (dataset.unmatched_images, dataset.unmatched_labels) == (extra[:1], extra[1:])


def test_plain_folders_of_pictures(tmp_path: Path) -> None:
    for name in ("b", "a"):
        picture(tmp_path / "images" / f"{name}.png", colour=True)
        picture(tmp_path / "labels" / f"{name}.png", [0, 255])
    picture(tmp_path / "instances" / "a.png")
    dataset = discover(tmp_path)
    assert (dataset.layout, dataset.channels) == ("plain", ("R", "G", "B"))
    assert dataset.labels.names == {"background": 0, "255": 255}
    assert dataset.identifiers == ("a", "b")
    assert dataset.ignored == (tmp_path / "instances",)
    assert any("found values 0, 255" in warning for warning in dataset.warnings)


def test_plain_volumes_with_channel_numbers(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for channel in range(2):
            volume(tmp_path / "imagesTr" / f"{name}_{channel:04d}.nrrd")
        volume(tmp_path / "labelsTr" / f"{name}.nii.gz", [0, 3, 9])
    volume(tmp_path / "imagesTs" / "t_0000.nrrd")
    volume(tmp_path / "imagesTs" / "t_0001.nrrd")
    dataset = discover(tmp_path)
    assert dataset.channels == ("image0", "image1")
    assert dataset.labels.values == (0, 3, 9)
    assert dataset.identifiers == ("a", "b")
    assert [case.id for case in dataset.unlabelled] == ["t"]
    assert (dataset.file_ending, dataset.label_ending) == (".nrrd", ".nii.gz")


def test_numbered_cases_are_no_channels(tmp_path: Path) -> None:
    for number in range(3):
        volume(tmp_path / "images" / f"scan_{number:04d}.nii.gz")
        volume(tmp_path / "labels" / f"scan_{number:04d}.nii.gz")
    assert discover(tmp_path).identifiers == ("scan_0000", "scan_0001", "scan_0002")


def test_colours_anywhere_make_the_set_coloured(tmp_path: Path) -> None:
    for number, colour in enumerate((False, False, True)):
        picture(tmp_path / "images" / f"{number}.png", colour=colour)
        picture(tmp_path / "labels" / f"{number}.png")
    assert discover(tmp_path).channels == ("R", "G", "B")


def test_images_beside_labels(tmp_path: Path) -> None:
    for name, ending in (("p1", ".nrrd"), ("p2", ".nrrd"), ("p3", ".nii.gz")):
        volume(tmp_path / f"{name}_image{ending}")
        volume(tmp_path / f"{name}_label{ending}")
    dataset = discover(tmp_path)
    assert dataset.identifiers == ("p1", "p2", "p3")
    assert dataset.training[2].label == tmp_path / "p3_label.nii.gz"
    assert (dataset.channels, dataset.file_ending) == (("image0",), ".nrrd")


def test_dicom_folders_are_cases(tmp_path: Path) -> None:
    writer = sitk.ImageFileWriter()
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        image = sitk.GetImageFromArray(np.arange(20, dtype=np.int16).reshape(1, 4, 5))
        writer.SetFileName(str(tmp_path / "images" / name / "0.dcm"))
        writer.Execute(image)
        volume(tmp_path / "labels" / f"{name}.nii.gz")
    dataset = discover(tmp_path)
    assert dataset.identifiers == ("a", "b")
    assert dataset.training[0].images == (tmp_path / "images" / "a",)
    assert (dataset.file_ending, dataset.label_ending) == ("", ".nii.gz")


def test_junk_is_passed_over_and_listed(tmp_path: Path) -> None:
    decathlon(tmp_path)
    names = ("._a.nii.gz", ".DS_Store", "Thumbs.db", "a.nii.gz~", "a.nii.gz.bak", ".a.nii.gz.swp", "notes.txt")
    for name in names:
        (tmp_path / "imagesTr" / name).write_bytes(b"junk")
    (tmp_path / "labelsTr" / "._a.nii.gz").write_bytes(b"junk")
    dataset = discover(tmp_path)
    assert dataset.identifiers == ("a", "b", "c")
    expected = {tmp_path / "imagesTr" / name for name in names} | {tmp_path / "labelsTr" / "._a.nii.gz"}
    assert set(dataset.ignored) == expected


def test_side_cars_and_data_files_are_no_junk(tmp_path: Path) -> None:
    for name in ("a", "b"):
        volume(tmp_path / "images" / f"{name}.mhd")
        volume(tmp_path / "labels" / f"{name}.nrrd")
    assert discover(tmp_path).ignored == ()
    other = tmp_path / "tiff"
    for name in ("a", "b"):
        picture(other / "images" / f"{name}.tif")
        picture(other / "labels" / f"{name}.png")
        (other / "images" / f"{name}.json").write_text('{"spacing": [1, 1, 1]}', encoding="utf-8")
    assert discover(other).ignored == ()


def test_linked_files_keep_their_names(tmp_path: Path) -> None:
    decathlon(tmp_path)
    path = tmp_path / "imagesTr" / "a.nii.gz"
    path.rename(tmp_path / "blob")
    path.symlink_to(tmp_path / "blob")
    assert discover(tmp_path).training[0].images == (path,)


def test_warnings_about_labels_that_nobody_described(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.png")
        picture(tmp_path / "labels" / f"{name}.png", [0, 1, 255])
    assert any("not annotated" in warning for warning in discover(tmp_path).warnings)
    for name in ("a", "b"):
        volume(tmp_path / "many" / "images" / f"{name}.nii.gz")
        path = tmp_path / "many" / "labels" / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(np.arange(125, dtype=np.int16).reshape(5, 5, 5)), str(path))
    assert any("one value per object" in warning for warning in discover(tmp_path / "many").warnings)


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="folder does not exist"):
        discover(tmp_path / "nowhere")
    (tmp_path / "photos").mkdir()
    with pytest.raises(DatasetError, match="no data set is recognised") as caught:
        discover(tmp_path)
    assert caught.value.got == "photos"
    for layout in ("Decathlon", "nnU-Net v2", "images/x.ext and labels/x.ext"):
        assert layout in str(caught.value)
    volume(tmp_path / "images" / "a.nii.gz")
    volume(tmp_path / "labels" / "b.nii.gz")
    with pytest.raises(DatasetError, match="no image has a label of the same name"):
        discover(tmp_path)
    (tmp_path / "dataset.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="not valid JSON"):
        discover(tmp_path)


def test_one_name_in_two_formats_is_refused(tmp_path: Path) -> None:
    nnunet(tmp_path)
    volume(tmp_path / "imagesTr" / "x_1_0000.nrrd")
    with pytest.raises(DatasetError, match="same identifier"):
        discover(tmp_path)


def identifiers(*arguments: Any) -> dict[str, int]:
    return {case.id: len(case.images) for case in find_cases(*arguments)}


def test_cases_to_predict_in_a_folder(tmp_path: Path) -> None:
    for name in ("b", "a"):
        volume(tmp_path / f"{name}_0000.nii.gz")
        volume(tmp_path / f"{name}_0001.nii.gz")
    (tmp_path / ".DS_Store").touch()
    assert identifiers(tmp_path, 2) == {"a": 2, "b": 2}
    assert list(identifiers(tmp_path, 2)) == ["a", "b"]


def test_cases_to_predict_with_one_channel(tmp_path: Path) -> None:
    volume(tmp_path / "a_0000.nii.gz")
    assert identifiers(tmp_path, 1) == {"a": 1}
    volume(tmp_path / "a_0001.nii.gz")
    assert identifiers(tmp_path, 1) == {"a_0000": 1, "a_0001": 1}, "numbered cases, as the model has one channel"


def test_numbered_pictures_are_no_channels(tmp_path: Path) -> None:
    for number in range(5):
        picture(tmp_path / f"img_{number:04d}.png", colour=True)
    assert len(identifiers(tmp_path, 3)) == 5


def test_files_to_predict(tmp_path: Path) -> None:
    one, two = volume(tmp_path / "a_0000.nii.gz"), volume(tmp_path / "a_0001.nii.gz")
    other = volume(tmp_path / "c.nrrd")
    assert identifiers([two, one], 2) == {"a": 2}
    assert identifiers(one, 2) == {"a": 2}, "the second channel lies beside the first"
    assert identifiers(str(other), 1) == {"c": 1}
    assert identifiers([one, other], 1) == {"a": 1, "c": 1}


def test_nothing_to_predict(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="input does not exist"):
        find_cases(tmp_path / "nowhere", 1)
    with pytest.raises(DatasetError, match="no image to predict"):
        find_cases(tmp_path, 1)
    volume(tmp_path / "a.nii.gz")
    volume(tmp_path / "a.nrrd")
    with pytest.raises(DatasetError, match="same identifier"):
        find_cases(tmp_path, 1)


def test_record_survives_its_file(tmp_path: Path) -> None:
    nnunet(tmp_path, channels=2)
    (tmp_path / "imagesTr" / "x_2_0001.nii.gz").unlink()
    (tmp_path / "imagesTr" / ".DS_Store").touch()
    dataset = discover(tmp_path)
    dataset.save(tmp_path / "out" / "dataset.json")
    assert Dataset.load(tmp_path / "out" / "dataset.json") == dataset


@pytest.mark.parametrize("described", [True, False])
def test_images_without_labels_are_cases_where_none_are_needed(tmp_path: Path, described: bool) -> None:
    folder = tmp_path / ("imagesTr" if described else "images")
    for name in ("b", "a"):
        volume(folder / f"{name}{'_0000' if described else ''}.nii.gz")
    if described:
        describe(tmp_path, {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz"})
    dataset = discover(tmp_path, labelled=False)
    assert [(case.id, case.label) for case in dataset.training] == [("a", None), ("b", None)]
    assert dataset.labels.foreground == {}
    assert not dataset.unmatched_images
    with pytest.raises(DatasetError):
        discover(tmp_path)


def test_some_labels_are_kept_where_none_are_needed(tmp_path: Path) -> None:
    decathlon(tmp_path)
    (tmp_path / "labelsTr" / "b.nii.gz").unlink()
    dataset = discover(tmp_path, labelled=False)
    assert [(case.id, case.label is not None) for case in dataset.training] == [("a", True), ("b", False), ("c", True)]
    assert [case.id for case in discover(tmp_path).training] == ["a", "c"]


def test_images_directly_in_a_folder_are_cases_where_no_labels_are_needed(tmp_path: Path) -> None:
    for name in ("scan_b", "scan_a", "scan_a_seg"):
        volume(tmp_path / f"{name}.nii.gz")
    (tmp_path / "notes.txt").touch()
    dataset = discover(tmp_path, labelled=False)
    assert [(case.id, case.label) for case in dataset.training] == [("scan_a", None), ("scan_b", None)]
    assert {path.name for path in dataset.ignored} == {"scan_a_seg.nii.gz", "notes.txt"}
    with pytest.raises(DatasetError):
        discover(tmp_path)


@pytest.mark.parametrize("under", ["", "images"])
@pytest.mark.parametrize(
    ("names", "cases", "channels"),
    [
        (("a_0000", "a_0001", "b_0000", "b_0001"), ["a", "b"], 2),
        (("a_0000", "b_0000"), ["a", "b"], 1),
        (("slice_0000", "slice_0001", "slice_0002"), ["slice_0000", "slice_0001", "slice_0002"], 1),
        (("a_0000", "a_0001", "b_0000"), ["a_0000", "a_0001", "b_0000"], 1),
        (("a_0001", "b_0001"), ["a_0001", "b_0001"], 1),
    ],
)
def test_numbers_that_cases_share_are_channels_of_images_without_labels(
    tmp_path: Path, under: str, names: tuple[str, ...], cases: list[str], channels: int
) -> None:
    for name in names:
        volume(tmp_path / under / f"{name}.nii.gz")
    dataset = discover(tmp_path, labelled=False)
    assert [case.id for case in dataset.training] == cases
    assert len(dataset.channels) == channels
    assert all(len(case.images) == channels for case in dataset.training)


def test_a_folder_without_images_says_what_would_be_recognised(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatasetError, match="directly in the folder"):
        discover(tmp_path, labelled=False)
