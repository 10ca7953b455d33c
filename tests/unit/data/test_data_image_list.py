"""A file may list the images of a data set without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.files import read_case
from autoseg.data.image_list import read_image_list
from autoseg.errors import DatasetError


def volume(path: Path, value: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.full((3, 4, 5), value, np.int16)), str(path))
    return path


def listed(file: Path, *lines: object) -> Path:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def test_a_text_file_lists_an_image_a_line(tmp_path: Path) -> None:
    volume(tmp_path / "a" / "one.nii.gz", 1)
    second = volume(tmp_path / "b c" / "two.nii.gz", 2)
    dataset = read_image_list(listed(tmp_path / "scans.txt", "# all", "b c/two.nii.gz", "", "a/./one.nii.gz"))
    assert [(case.id, case.label) for case in dataset.training] == [("one", None), ("two", None)]
    assert dataset.training[1].images == (second,)
    assert (dataset.name, dataset.channels, dataset.file_ending) == ("scans", ("image0",), ".nii.gz")
    assert dataset.labels.foreground == {}


def test_absolute_paths_mean_the_same(tmp_path: Path) -> None:
    image = volume(tmp_path / "data" / "one.nii.gz")
    (tmp_path / "elsewhere").mkdir()
    assert read_image_list(listed(tmp_path / "elsewhere" / "x.txt", image)).training[0].images == (image,)


def test_a_table_names_the_channels(tmp_path: Path) -> None:
    for value, name in enumerate(("t1", "t2"), 1):
        volume(tmp_path / "p1" / f"{name}.nii.gz", value)
    dataset = read_image_list(listed(tmp_path / "x.csv", "T1, T2", "p1/t1.nii.gz, p1/t2.nii.gz"))
    assert dataset.channels == ("T1", "T2")
    image = read_case(dataset.training[0], 2)
    assert image.array[:, 0, 0, 0].tolist() == [1, 2]


def test_as_many_folders_as_tell_images_apart_are_in_their_names(tmp_path: Path) -> None:
    paths = [volume(tmp_path / year / case / "scan.nii.gz") for year in ("2021", "2022") for case in ("p1", "p2")]
    dataset = read_image_list(listed(tmp_path / "x.txt", *paths))
    assert dataset.identifiers == ("2021_p1_scan", "2021_p2_scan", "2022_p1_scan", "2022_p2_scan")


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("x.txt", [], "no image is listed"),
        ("x.csv", ["CT"], "no image is listed"),
        ("x.txt", ["gone.nii.gz", "a.nii.gz"], "gone.nii.gz"),
        ("x.txt", ["a.nii.gz", "./a.nii.gz"], "listed twice"),
        ("x.txt", ["a.nii.gz", "a.mha"], "the same name"),
        ("x.csv", ["a.nii.gz", "b.nii.gz"], "does not name the channels"),
        ("x.csv", ["T1,T2", "a.nii.gz,b.nii.gz", "c.nii.gz"], "another number of images"),
        ("x.csv", ["T1,T2", "a.nii.gz,"], "another number of images"),
        ("a.nii.gz", None, "it is no text"),
        ("gone.txt", None, "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_said(tmp_path: Path, name: str, lines: list[str] | None, said: str) -> None:
    for image in ("a.nii.gz", "b.nii.gz", "c.nii.gz", "a.mha"):
        volume(tmp_path / image)
    file = tmp_path / name
    if lines is not None:
        listed(file, *lines)
    with pytest.raises(DatasetError, match=said) as error:
        read_image_list(file)
    assert str(file) in str(error.value)
