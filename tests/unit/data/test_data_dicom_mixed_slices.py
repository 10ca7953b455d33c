"""Slices of one series that are stored in different ways keep their values, or are refused where they do not belong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_objects import enhanced_object, frame_groups, image_object, radiograph, save, save_as, slice_object, voxels
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from autoseg.data.dicom.value_types import with_room
from autoseg.data.files import read_image
from autoseg.errors import ImageError

SHAPE = (5, 6)

Form = tuple[str, int, int, int]
"""Stored type, bits stored, slope, intercept."""

FORMS = st.tuples(
    st.sampled_from(("uint8", "int8", "uint16", "int16", "uint32", "int32")),
    st.sampled_from((8, 12, 16, 24, 32)),
    st.sampled_from((1, 1, 1, -1, 3, 10)),
    st.sampled_from((0, 0, -1024, 70000)),
)


def refusal(path: Path) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    return caught.value


def made_of(form: Form, z: int, seed: int) -> tuple[Dataset, np.ndarray]:
    """A slice with the ends of what its bits can hold, and its values."""
    kind, stored_bits, slope, intercept = form
    dtype = np.dtype(kind)
    bits = min(stored_bits, 8 * dtype.itemsize)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if dtype.kind == "i" else (0, (1 << bits) - 1)
    pixels = np.random.default_rng(seed).integers(low, high + 1, SHAPE)
    pixels[0, 0], pixels[-1, -1] = low, high
    made = slice_object(
        pixels.astype(dtype), z, BitsStored=bits, HighBit=bits - 1, RescaleSlope=slope, RescaleIntercept=intercept
    )
    return made, pixels * slope + intercept


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FORMS, min_size=1, max_size=4), st.integers(0, 1000))
def test_values_of_all_slices_stay_however_each_is_stored(
    tmp_path_factory: pytest.TempPathFactory, forms: list[Form], seed: int
) -> None:
    slices = [made_of(form, z, seed + z) for z, form in enumerate(forms)]
    image = read_image(save([made for made, _ in slices], tmp_path_factory.mktemp("series")))
    assert image.array.dtype.kind in "iu"
    assert np.array_equal(image.array[0], np.stack([values for _, values in slices]))


def test_a_slice_whose_slope_is_a_fraction_does_not_round_large_whole_ones(tmp_path: Path) -> None:
    whole, values = made_of(("int32", 32, 1, 0), 0, 0)
    fraction = slice_object(voxels(SHAPE), 1, RescaleSlope=0.5)
    image = read_image(save([fraction, whole], tmp_path))
    assert np.array_equal(image.array[0, 0], values)
    assert np.array_equal(image.array[0, 1], voxels(SHAPE) * 0.5)


@pytest.mark.parametrize("place", [0, 1], ids=["first", "last"])
def test_floating_point_slices_among_whole_ones(tmp_path: Path, place: int) -> None:
    whole, values = made_of(("int16", 16, 1, 0), 1 - place, 0)
    fractions = (voxels(SHAPE) / 8).astype(np.float32)
    floating = slice_object(voxels(SHAPE), place, PixelData=None, BitsStored=None, HighBit=None)
    floating.BitsAllocated, floating.FloatPixelData = 32, fractions.tobytes()
    image = read_image(save([whole, floating], tmp_path))
    assert np.array_equal(image.array[0, place], fractions)
    assert np.array_equal(image.array[0, 1 - place], values)


def test_how_slices_are_shown_is_told_once_for_all(tmp_path: Path) -> None:
    slices = [slice_object(voxels(SHAPE), z) for z in range(5)]
    for z in (2, 4):
        slices[z].PhotometricInterpretation = "MONOCHROME1"
    remarks = read_image(save(slices, tmp_path)).remarks
    assert [(remark.code, remark.got) for remark in remarks] == [("monochrome1", "2 of 5 slices")]


def test_floating_point_planes_are_not_turned_round(tmp_path: Path) -> None:
    made = radiograph(voxels(SHAPE), PhotometricInterpretation="MONOCHROME1", PixelData=None, BitsStored=None)
    made.BitsAllocated, made.FloatPixelData = 32, voxels(SHAPE).astype(np.float32).tobytes()
    assert "PhotometricInterpretation" in refusal(save_as(made, tmp_path / "x.dcm")).subject


@pytest.mark.parametrize(
    ("keyword", "values", "modality"),
    [
        ("PatientID", ("one", "two"), "CT"),
        ("Units", ("BQML", "CNTS"), "PT"),
        ("RescaleType", ("HU", "US"), "CT"),
    ],
)
def test_slices_that_state_different_things_are_refused(
    tmp_path: Path, keyword: str, values: tuple[str, str], modality: str
) -> None:
    slices = [slice_object(voxels(SHAPE), z, Modality=modality, **{keyword: values[0]}) for z in range(4)]
    read_image(save(slices, tmp_path / "alike"))
    setattr(slices[2], keyword, "")
    read_image(save(slices, tmp_path / "unsaid"))
    setattr(slices[2], keyword, values[1])
    error = refusal(save(slices, tmp_path / "mixed"))
    assert error.got is not None
    assert values[1] in error.got
    assert "f002.dcm" in error.got


def test_a_slice_without_slope_among_others_that_have_one_is_refused(tmp_path: Path) -> None:
    slices = [slice_object(voxels(SHAPE), z, RescaleIntercept=-1024) for z in range(4)]
    del slices[1].RescaleSlope, slices[1].RescaleIntercept
    assert "f001.dcm" in str(refusal(save(slices, tmp_path / "mixed")).got)
    for made in slices:
        made.RescaleIntercept = 0
    del slices[1].RescaleIntercept
    read_image(save(slices, tmp_path / "identity"))


def dose(**attributes: object) -> Dataset:
    place = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}
    offsets = [0.0, 2.0, 4.0]
    array = np.abs(voxels((3, *SHAPE))).astype(np.uint16)
    return image_object(array, Modality="RTDOSE", GridFrameOffsetVector=offsets, **{**place, **attributes})


def test_a_dose_counts_with_its_scaling_alone(tmp_path: Path) -> None:
    array = np.abs(voxels((3, *SHAPE)))
    scaled = read_image(save_as(dose(DoseGridScaling="0.5", RescaleSlope=1), tmp_path / "scaled.dcm"))
    assert np.array_equal(scaled.array[0], array * 0.5)
    for name, attributes in {"none": {}, "slope": {"RescaleSlope": 1}}.items():
        assert "DoseGridScaling" in refusal(save_as(dose(**attributes), tmp_path / f"{name}.dcm")).subject


def part(number: int, total: int | None, frames: int = 3) -> Dataset:
    array = voxels((6, *SHAPE))[(number - 1) * frames : number * frames]
    each = [frame_groups(z) for z in range((number - 1) * frames, number * frames)]
    made = enhanced_object(array, each, number=number)
    made.ConcatenationUID, made.InConcatenationNumber = "1.2.3", number
    made.ConcatenationFrameOffsetNumber = (number - 1) * frames
    if total is not None:
        made.InConcatenationTotalNumber = total
    return made


def test_parts_of_a_concatenation_are_one_volume_or_refused(tmp_path: Path) -> None:
    whole = read_image(save([part(2, 2), part(1, 2)], tmp_path / "whole"))
    assert np.array_equal(whole.array[0], voxels((6, *SHAPE)))
    for name, parts in {"first": [part(1, 2)], "gap": [part(2, None)], "more": [part(1, 3), part(2, 3)]}.items():
        error = refusal(save(parts, tmp_path / name))
        assert error.subject == "parts of a DICOM concatenation are missing"
    assert pydicom.dcmread(tmp_path / "first" / "f000.dcm").ConcatenationUID == "1.2.3"


def echoes(shift: float, time: Callable[[int], float], number: int) -> list[Dataset]:
    array = voxels((5, *SHAPE), seed=number)
    return [
        slice_object(pixels, z + shift, number=10 * number + z, Modality="MR", EchoTime=time(z))  # type: ignore[arg-type]
        for z, pixels in enumerate(array)
    ]


def test_echoes_between_each_others_slices_are_two_volumes(tmp_path: Path) -> None:
    mixed = [*echoes(0, lambda z: 5.0 + z * 1e-4, 1), *echoes(0.5, lambda z: 10.0, 2)]
    error = refusal(save(mixed, tmp_path / "two"))
    assert error.subject == "the DICOM source holds several volumes"
    assert "TE 10 ms" in str(error.got)
    for name, time in {"rounding": lambda z: 4.915 + z * 1e-4, "each": lambda z: 5.0 + z}.items():
        assert read_image(save(echoes(0, time, 1), tmp_path / name)).shape == (5, *SHAPE)


def placed(folder: Path, depths: np.ndarray, decimals: int) -> Path:
    slices = [slice_object(voxels(SHAPE, seed=z), z) for z in range(len(depths))]
    for made, depth in zip(slices, depths, strict=True):
        made.ImagePositionPatient = ["10.123456", "20.5", f"{depth:.{decimals}f}"]
    return save(slices, folder)


def test_rounded_positions_are_even_slices(tmp_path: Path) -> None:
    depths = -30 + 0.625 * np.arange(17)
    for name, decimals in (("short", 1), ("long", 4)):  # "-29.4", "-29.4000"
        image = read_image(placed(tmp_path / name, np.round(depths, 1), decimals))
        assert [remark.code for remark in image.remarks] == ["rounded-positions"]
        assert image.geometry.spacing[0] == pytest.approx(0.625)
    moved = depths + 0.1 * (np.arange(17) == 8)
    for name, uneven, decimals in (
        ("exact", np.round(depths, 1) + 1e-3 * (np.arange(17) == 3), 3),  # its decimals do not explain it
        ("missing", np.delete(depths, 8), 1),
        ("moved", np.round(moved, 2), 2),
    ):
        error = refusal(placed(tmp_path / name, uneven, decimals))
        assert error.subject.startswith("the DICOM slices are not evenly spaced")


@pytest.mark.parametrize("step", [1.0, 5.0])
@pytest.mark.parametrize("count", [4, 5, 10])
def test_rounding_never_hides_a_missing_slice(tmp_path: Path, count: int, step: float) -> None:
    for left_out in range(1, count - 1):
        depths = step * np.delete(np.arange(count), left_out)
        error = refusal(placed(tmp_path / str(left_out), depths, 0))
        assert error.subject.startswith("the DICOM slices are not evenly spaced")


INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64")


@given(st.sampled_from(INTEGERS), st.sampled_from(INTEGERS), st.integers(0, 1000))
def test_room_is_made_for_what_headers_do_not_tell(kind: str, other: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    array, values = (
        rng.integers(np.iinfo(one).min, np.iinfo(one).max, SHAPE, dtype=one, endpoint=True) for one in (kind, other)
    )
    wide = with_room(array, values, values)
    assert wide.dtype.kind in "iu"
    assert np.array_equal(wide, array)
    assert np.array_equal(values.astype(wide.dtype), values)


def test_room_is_made_for_digits_and_size_of_fractions() -> None:
    array = np.ones(SHAPE, np.float32)
    small, digits = np.full(SHAPE, 1 << 23), np.full(SHAPE, (1 << 24) + 1)
    assert with_room(array, small * 0.5, small).dtype == np.float32
    assert with_room(array, digits * 0.5, digits).dtype == np.float64
    assert with_room(array, np.full(SHAPE, -1e39), small).dtype == np.float64
    assert with_room(np.ones(SHAPE, np.int32), array, array).dtype == np.float64
