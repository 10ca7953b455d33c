"""Frames of a source are grouped into volumes, and one is chosen or the choice is refused with a list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_objects import enhanced_object, frame_groups, item, save, save_as, series_objects, slice_object, voxels
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from autoseg.data.dataset import Case, Reading
from autoseg.data.dicom.reader import slice_indices
from autoseg.data.files import read_case, read_image
from autoseg.errors import ImageError

FIRST, SECOND = voxels(seed=1), voxels(seed=2)


def in_turns(first: list[Dataset], second: list[Dataset]) -> list[Dataset]:
    """Files of two volumes, whose instances are numbered one after the other."""
    mixed = [made for pair in zip(first, second, strict=True) for made in pair]
    for number, made in enumerate(mixed, start=1):
        made.InstanceNumber = number
        made.SOPInstanceUID = f"{made.SeriesInstanceUID}.{number}"
    return mixed


def refusal(path: Path, reading: Reading | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(path, reading)
    return caught.value


@pytest.mark.parametrize(
    ("keyword", "values", "pattern"),
    [
        ("EchoNumbers", (1, 2), "echo 2"),
        ("EchoTime", (10, 80), "te 80 ms"),
        ("DiffusionBValue", (0.0, 1000.0), "b 1000"),
        ("TemporalPositionIdentifier", (1, 2), "time point 2"),
        ("TriggerTime", (0, 350), "trigger 350*"),
        ("AcquisitionNumber", (1, 2), "acquisition 2"),
        ("InversionTime", (100, 900), "ti 900"),
        ("SeriesDescription", ("T1", "T2 tse"), "t2"),
        ("SeriesInstanceUID", ("1.2.3", "1.2.4"), "1.2.4"),
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]), "phase"),
        ("ImageType", (["DERIVED", "PRIMARY", "ADC"], ["DERIVED", "PRIMARY", "TRACEW"]), "*tracew*"),
    ],
)
def test_two_volumes_in_turns_are_told_apart(
    tmp_path: Path, keyword: str, values: tuple[object, object], pattern: str
) -> None:
    one, two = (series_objects(array, Modality="MR", **{keyword: value}) for array, value in
                zip((FIRST, SECOND), values, strict=True))  # fmt: skip
    if keyword == "SeriesDescription":
        two = series_objects(SECOND, Modality="MR", SeriesDescription=values[1], SeriesInstanceUID="1.2.9")
    folder = save(in_turns(one, two), tmp_path)
    error = refusal(folder)
    assert error.subject == "the DICOM source holds several volumes"
    assert error.got is not None
    assert error.got.count("5 slices of 6 x 7") == 2
    case = Case(id="x", images=(folder,), reading=Reading(series=pattern))
    assert np.array_equal(read_case(case).array[0], SECOND)


def test_vendors_write_b_values_of_their_own(tmp_path: Path) -> None:
    private = [(0x0019, "SIEMENS MR HEADER", 0x0C, "IS", "800"), (0x0043, "GEMS_PARM_01", 0x39, "IS", [1000000800, 8])]
    for number, (group, creator, element, kind, value) in enumerate(private):
        two = series_objects(SECOND, Modality="MR")
        for made in two:
            made.private_block(group, creator, create=True).add_new(element, kind, value)
        folder = save(in_turns(series_objects(FIRST, Modality="MR"), two), tmp_path / str(number))
        assert np.array_equal(read_image(folder, Reading(series="b 800")).array[0], SECOND)


def test_the_largest_volume_is_chosen_where_that_is_asked_for(tmp_path: Path) -> None:
    localizer = slice_object(voxels((6, 7), seed=3), 40, number=90, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    folder = save([localizer, *series_objects(FIRST)], tmp_path)
    assert "localizer" in str(refusal(folder))
    assert np.array_equal(read_image(folder, Reading(series="largest")).array[0], FIRST)
    equal = save(series_objects(SECOND, series=2), tmp_path, ending=".ima")
    assert "several volumes of the DICOM source fit" in refusal(equal, Reading(series="LARGEST")).subject


def test_other_orientations_sizes_and_series_are_volumes_of_their_own(tmp_path: Path) -> None:
    for number, other in enumerate(
        (
            [
                slice_object(pixels, z, ImageOrientationPatient=[1, 0, 0, 0, 0, -1], ImagePositionPatient=[0, z, 0])
                for z, pixels in enumerate(SECOND)
            ],
            series_objects(voxels((5, 7, 6))),
            series_objects(SECOND, PixelSpacing=[1, 1]),
            series_objects(SECOND, FrameOfReferenceUID="1.2.3"),
        )
    ):
        folder = save(series_objects(FIRST), tmp_path / str(number))
        save(other, folder, ending=".ima")
        assert str(refusal(folder).got).count("5 slices") == 2


def test_patterns_name_one_volume(tmp_path: Path) -> None:
    folder = save(series_objects(FIRST, series=3, SeriesDescription="T1 [pre]"), tmp_path)
    save(series_objects(SECOND, series=13, SeriesDescription="T1 [pre] late"), folder, ending=".ima")
    for pattern, array in (("3", FIRST), ("13", SECOND), ("t1 [PRE]", FIRST), ("late", SECOND), ("*late", SECOND)):
        assert np.array_equal(read_image(folder, Reading(series=pattern)).array[0], array), pattern
    assert "no volume of the DICOM source fits the pattern 'FLAIR'" in str(refusal(folder, Reading(series="FLAIR")))
    assert "several volumes of the DICOM source fit the pattern 't1'" in str(refusal(folder, Reading(series="t1")))


def test_a_single_volume_is_read_whatever_the_pattern_and_told(tmp_path: Path) -> None:
    folder = save(series_objects(FIRST, SeriesDescription="T1"), tmp_path)
    assert read_image(folder, Reading(series="t1")).remarks == ()
    assert [remark.code for remark in read_image(folder, Reading(series="FLAIR")).remarks] == ["series-not-named"]


def test_slices_of_several_acquisitions_are_one_volume_where_no_place_is_shared(tmp_path: Path) -> None:
    slices = series_objects(FIRST)
    for number, made in enumerate(slices):
        made.AcquisitionNumber, made.TriggerTime, made.AcquisitionTime = number, 10 * number, f"10000{number}"
    assert np.array_equal(read_image(save(slices, tmp_path)).array[0], FIRST)


def test_repetitions_that_follow_each_other_are_volumes(tmp_path: Path) -> None:
    again = series_objects(SECOND)
    for number, made in enumerate(again, start=11):
        made.InstanceNumber, made.SOPInstanceUID = number, f"1.2.3.{number}"
    folder = save([*series_objects(FIRST), *again], tmp_path)
    assert np.array_equal(read_image(folder, Reading(series="repetition 2")).array[0], SECOND)


def test_slices_in_one_place_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    folder = save(in_turns(series_objects(FIRST), series_objects(SECOND)), tmp_path)
    error = refusal(folder)
    assert error.subject == "DICOM slices lie in one place and differ"
    assert "(10, 20, 30) mm" in str(error.got)
    assert "f000.dcm" in str(error.got)


def test_slices_beside_each_other_are_refused(tmp_path: Path) -> None:
    folder = save(series_objects(FIRST, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), tmp_path)
    assert refusal(folder).subject == "DICOM slices lie beside each other in one plane"


def test_copies_count_once(tmp_path: Path) -> None:
    folder = save(series_objects(FIRST), tmp_path)
    (folder / "f001 (copy).dcm").write_bytes((folder / "f001.dcm").read_bytes())
    renamed = slice_object(FIRST[2], 2, number=77)
    save_as(renamed, folder / "again.dcm")
    image = read_image(folder)
    assert np.array_equal(image.array[0], FIRST)
    assert [remark.code for remark in image.remarks] == ["duplicate-slices", "duplicate-slices"]


def test_one_instance_uid_everywhere_makes_no_copies(tmp_path: Path) -> None:
    same = np.repeat(FIRST[:1], 5, axis=0)
    image = read_image(save(series_objects(same, SOPInstanceUID="1.2.3"), tmp_path))
    assert np.array_equal(image.array[0], same)
    assert image.remarks == ()


def test_frames_of_a_multi_frame_object_are_grouped_too(tmp_path: Path) -> None:
    stored = np.concatenate([FIRST, SECOND]).reshape(2, 5, 6, 7).transpose(1, 0, 2, 3).reshape(10, 6, 7)
    each = [
        frame_groups(4 - place // 2, MREchoSequence=item(EffectiveEchoTime=(10.0, 80.0)[place % 2]))
        for place in range(10)
    ]
    path = save_as(enhanced_object(np.ascontiguousarray(stored), each), tmp_path / "x.dcm")
    assert "TE 80 ms" in str(refusal(path))
    image = read_image(path, Reading(series="TE 80 ms"))
    assert np.array_equal(image.array[0], SECOND[::-1])
    assert image.geometry.spacing == pytest.approx((2.5, 0.75, 0.5))
    assert image.geometry.origin == pytest.approx((30, 20, 10))


def test_a_multi_frame_objects_own_dimension_tells_volumes_apart(tmp_path: Path) -> None:
    stored = np.concatenate([FIRST, SECOND])
    each = [
        frame_groups(place % 5, FrameContentSequence=item(DimensionIndexValues=[1 + place // 5, 1 + place % 5]))
        for place in range(10)
    ]
    pointers = [item(DimensionIndexPointer=0x00080008), item(DimensionIndexPointer=0x00200032)]
    made = enhanced_object(stored, each, DimensionIndexSequence=Items(pointers))
    path = save_as(made, tmp_path / "x.dcm")
    assert np.array_equal(read_image(path, Reading(series="ImageType 2")).array[0], SECOND)


def test_frames_are_found_by_object_and_number(tmp_path: Path) -> None:
    slices = series_objects(FIRST)[::-1]
    folder = save(slices, tmp_path / "a")
    expected = {(made.SOPInstanceUID, 1): 4 - number for number, made in enumerate(slices)}
    assert slice_indices(folder, Reading()) == expected
    made = enhanced_object(FIRST, [frame_groups(4 - place) for place in range(5)])
    path = save_as(made, tmp_path / "x.dcm")
    assert slice_indices(path, Reading()) == {(made.SOPInstanceUID, n + 1): 4 - n for n in range(5)}
