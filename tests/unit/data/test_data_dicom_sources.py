"""Where DICOM images are found: folders, files with and without ending, DICOMDIRs, zips; and what is passed over."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from dicom_objects import (
    enhanced_object,
    frame_groups,
    image_object,
    item,
    radiograph,
    save,
    save_as,
    series_objects,
    slice_object,
    voxels,
)
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage, RTStructureSetStorage

from autoseg.data.dicom import sources
from autoseg.data.discovery import discover, find_cases
from autoseg.data.files import ending_of, read_image, read_labels, write_labels
from autoseg.data.image import Geometry
from autoseg.data.image_list import read_image_list
from autoseg.data.listing import list_images
from autoseg.errors import ImageError

ARRAY = voxels((5, 6, 7))


def multi_frame(path: Path, number: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = enhanced_object(ARRAY, [frame_groups(z) for z in range(5)], SOPInstanceUID=f"1.2.9.{number}")
    return save_as(made, path)


def structure_set() -> Dataset:
    made = image_object(ARRAY[0], SOPClassUID=RTStructureSetStorage, Modality="RTSTRUCT", Rows=None, Columns=None)
    del made.PixelData
    return made


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, prefix + str(file.relative_to(folder)))
    return path


@pytest.mark.parametrize("ending", [".dcm", ".IMA", ".dicom", "", ".1"])
def test_files_of_a_folder_with_and_without_ending(tmp_path: Path, ending: str) -> None:
    folder = save(series_objects(ARRAY), tmp_path / "case", ending)
    for name in ("notes.txt", "._f000.dcm", ".DS_Store", "report.pdf"):
        (folder / name).write_bytes(b"no image at all" * 20)
    image = read_image(folder)
    assert np.array_equal(image.array[0], ARRAY)
    assert image.remarks == ()
    assert image.identity["PatientID"] == "someone"
    assert set(image.identity) == {
        "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality"
    }  # fmt: skip


def test_a_single_file_needs_no_ending(tmp_path: Path) -> None:
    for name in ("a.dcm", "b", "c.IMA"):
        image = read_image(multi_frame(tmp_path / name))
        assert np.array_equal(image.array[0], ARRAY)
    (tmp_path / "d").write_bytes(b"no image at all" * 20)
    with pytest.raises(ImageError, match="unknown ending"):
        read_image(tmp_path / "d")


def test_files_without_preamble(tmp_path: Path) -> None:
    folder = save(series_objects(ARRAY), tmp_path)
    for file in list(folder.iterdir()):
        content = file.read_bytes()
        file.with_suffix("").write_bytes(content[132:])
        file.unlink()
    assert np.array_equal(read_image(folder).array[0], ARRAY)


def test_objects_without_images_are_passed_over_and_told(tmp_path: Path) -> None:
    folder = save([*series_objects(ARRAY), structure_set()], tmp_path / "case")
    image = read_image(folder)
    assert np.array_equal(image.array[0], ARRAY)
    assert [(remark.code, remark.got) for remark in image.remarks] == [("no-images", "RT Structure Set Storage")]
    alone = save([structure_set()], tmp_path / "alone")
    with pytest.raises(ImageError, match="holds no image") as caught:
        read_image(alone)
    assert caught.value.got == "RT Structure Set Storage"


def test_a_slice_without_pixels_is_never_passed_over(tmp_path: Path) -> None:
    folder = save(series_objects(ARRAY), tmp_path)
    content = (folder / "f004.dcm").read_bytes()
    for length in (0, 100, 400, len(content) - 100):
        (folder / "f004.dcm").write_bytes(content[:length])
        with pytest.raises(ImageError) as caught:
            read_image(folder)
        assert caught.value.where is not None
        assert caught.value.where.endswith("f004.dcm")


def medium(folder: Path, entries: list[list[str]]) -> Path:
    """A DICOMDIR that lists files."""
    made = image_object(ARRAY[0], SOPClassUID=MediaStorageDirectoryStorage, Rows=None, Columns=None, Modality=None)
    del made.PixelData
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.DirectoryRecordSequence = Items(
        [item(DirectoryRecordType="IMAGE", ReferencedFileID=parts) for parts in entries]
    )
    return save_as(made, folder / "DICOMDIR")


def test_a_medium_is_what_its_directory_lists(tmp_path: Path) -> None:
    save(series_objects(ARRAY), tmp_path / "IMAGES" / "S1", ending="")
    names = [["IMAGES", "S1", f"F{number:03d}"] for number in range(5)]
    for name in (tmp_path / "IMAGES" / "S1").iterdir():
        assert name.name.startswith("f")  # a medium copied in lower case
    (tmp_path / "IMAGES").rename(tmp_path / "images")
    (tmp_path / "images" / "S1").rename(tmp_path / "images" / "s1")
    directory = medium(tmp_path, names)
    for source in (tmp_path, directory):
        assert np.array_equal(read_image(source).array[0], ARRAY)
    medium(tmp_path, [*names, ["IMAGES", "S1", "F005"]])
    with pytest.raises(ImageError, match="lists files that do not exist"):
        read_image(tmp_path)
    medium(tmp_path, [["..", "elsewhere"]])
    with pytest.raises(ImageError, match="outside of its folder"):
        read_image(tmp_path)


def test_a_zip_is_read_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(series_objects(ARRAY), tmp_path / "case")
    (folder / "notes.txt").write_text("nothing", encoding="utf-8")
    path = zipped(folder, tmp_path / "case.zip", prefix="../../outside/")
    before = sorted(tmp_path.rglob("*"))
    assert np.array_equal(read_image(path).array[0], ARRAY)
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent.parent / "outside").exists()
    monkeypatch.setattr(sources, "_MOST_BYTES", 1000)
    with pytest.raises(ImageError, match="too large to be read in memory"):
        read_image(path)
    monkeypatch.undo()
    monkeypatch.setattr(sources, "MOST_MEMBERS", 3)
    with pytest.raises(ImageError, match="too large to be read in memory"):
        read_image(path)


def test_damaged_zips_and_zips_of_other_things(tmp_path: Path) -> None:
    folder = save(series_objects(ARRAY), tmp_path / "case")
    content = zipped(folder, tmp_path / "x.zip").read_bytes()
    for place in (40, len(content) // 2, len(content) - 30):
        broken = bytearray(content)
        broken[place : place + 8] = b"\xff" * 8
        (tmp_path / "x.zip").write_bytes(broken)
        with pytest.raises(ImageError):
            read_image(tmp_path / "x.zip")
    other = tmp_path / "images" / "x.zip"
    other.parent.mkdir()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    assert list_images(other.parent).images == ()
    assert list_images(zipped(folder, other).parent).images == (other,)


def test_a_folder_of_multi_frame_files_holds_an_image_each(tmp_path: Path) -> None:
    for number, name in enumerate(("a.dcm", "b.dcm", "c")):
        multi_frame(tmp_path / "images" / name, number)
    labels = np.zeros(ARRAY.shape, np.uint8)
    labels[2] = 1
    for name in "abc":
        write_labels(tmp_path / "labels" / f"{name}.nii.gz", labels, Geometry())
    dataset = discover(tmp_path)
    assert dataset.identifiers == ("a", "b", "c")
    assert (dataset.file_ending, dataset.label_ending) == (".dcm", ".nii.gz")
    assert [case.id for case in find_cases(tmp_path / "images", 1)] == ["a", "b", "c"]
    assert [case.id for case in find_cases(tmp_path / "images" / "b.dcm", 1)] == ["b"]
    alone = discover(tmp_path, labelled=False)
    assert [case.id for case in alone.training] == ["a", "b", "c"]


def test_a_folder_of_planes_holds_an_image_each(tmp_path: Path) -> None:
    for number in range(3):
        save_as(radiograph(ARRAY[0], number=number), (tmp_path / f"{number}.dcm"))
    assert [case.id for case in find_cases(tmp_path, 1)] == ["0", "1", "2"]


def test_one_series_in_a_folder_is_one_case(tmp_path: Path) -> None:
    folder = save(series_objects(ARRAY), tmp_path / "case")
    assert [(case.id, case.images) for case in find_cases(folder, 1)] == [("case", (folder,))]
    assert list_images(folder).images == ()
    assert len(list_images(folder).ignored) == 5
    single = save([slice_object(ARRAY[0], 0)], tmp_path / "single")
    assert [case.id for case in find_cases(single, 1)] == ["single"]
    assert [case.id for case in find_cases(tmp_path, 1)] == ["case", "single"]


def test_parts_of_one_multi_frame_image_are_one_case(tmp_path: Path) -> None:
    for number, part in enumerate((range(3), range(3, 5))):
        made = enhanced_object(ARRAY[part.start : part.stop], [frame_groups(z) for z in part],
                               SOPInstanceUID=f"1.2.9.{number}", ConcatenationUID="1.2.8")  # fmt: skip
        (tmp_path / "case").mkdir(exist_ok=True)
        save_as(made, tmp_path / "case" / f"{number}.dcm")
    assert [case.id for case in find_cases(tmp_path / "case", 1)] == ["case"]
    assert np.array_equal(read_image(tmp_path / "case").array[0], ARRAY)


def test_predictions_of_dicom_images_are_nifti_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        multi_frame(tmp_path / f"{name}.dcm")
    (tmp_path / "list.txt").write_text("a.dcm\nb.dcm\n", encoding="utf-8")
    dataset = read_image_list(tmp_path / "list.txt")
    assert (dataset.file_ending, dataset.label_ending) == (".dcm", ".nii.gz")
    assert ending_of("x.DCM") == ".dcm"
    with pytest.raises(ImageError, match="read only"):
        write_labels(tmp_path / "x.dcm", np.zeros((1, 2, 3), np.uint8), Geometry())


def test_labels_may_be_dicom_images(tmp_path: Path) -> None:
    labels = np.zeros(ARRAY.shape, np.uint8)
    labels[1:3, 2:4] = 2
    folder = save(series_objects(labels), tmp_path / "x")
    assert np.array_equal(read_labels(folder).array[0], labels)
