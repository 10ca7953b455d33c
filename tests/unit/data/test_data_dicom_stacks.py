"""Slices become a stack where they lie as the files say, or are refused with the cause."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_objects import (
    SPACING,
    STEP,
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

from autoseg.data.dataset import Reading
from autoseg.data.files import read_image
from autoseg.data.image import Geometry, Image
from autoseg.errors import ImageError

ARRAY = voxels((5, 6, 7))


def refusal(path: Path, reading: Reading | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(path, reading)
    return caught.value


def codes(image: Image) -> list[str]:
    return [remark.code for remark in image.remarks]


def test_the_distance_is_that_of_positions_not_the_thickness(tmp_path: Path) -> None:
    image = read_image(save(series_objects(ARRAY, SliceThickness=9), tmp_path))
    assert image.geometry.spacing == pytest.approx((STEP, *SPACING))


def test_a_turned_series_lies_where_itk_lays_it(tmp_path: Path) -> None:
    axes = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    axes[:, 2] = np.cross(axes[:, 0], axes[:, 1])
    slices = [
        slice_object(
            pixels,
            z,
            ImageOrientationPatient=[round(float(part), 10) for part in axes[:, :2].T.ravel()],
            ImagePositionPatient=[round(float(part), 8) for part in (5, -7, 11) + axes[:, 2] * STEP * z],
        )
        for z, pixels in enumerate(ARRAY)
    ]
    folder = save([slices[place] for place in (3, 0, 4, 1, 2)], tmp_path)
    image = read_image(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    other = reader.Execute()
    assert np.array_equal(image.array[0], sitk.GetArrayFromImage(other))
    assert image.geometry.origin[::-1] == pytest.approx(other.GetOrigin(), abs=1e-6)
    assert image.geometry.spacing[::-1] == pytest.approx(other.GetSpacing(), abs=1e-6)
    direction = np.array(image.geometry.direction)[::-1, ::-1]
    assert direction.ravel() == pytest.approx(other.GetDirection(), abs=1e-6)


def test_uneven_distances_are_refused_and_small_ones_are_told(tmp_path: Path) -> None:
    def moved(name: str, by: float) -> Path:
        slices = series_objects(ARRAY)
        slices[2].ImagePositionPatient[2] += by
        return save(slices, tmp_path / name)

    error = refusal(moved("far", 1.0))
    assert error.subject == "the DICOM slices are not evenly spaced"
    assert "f002.dcm" in str(error.remedy)
    near = read_image(moved("near", 0.1))
    assert codes(near) == ["uneven-slices"]
    assert near.geometry.spacing[0] == pytest.approx(STEP)
    assert codes(read_image(moved("rounding", 0.01))) == []


def test_every_other_slice_missing_is_told(tmp_path: Path) -> None:
    folder = save(series_objects(ARRAY, SpacingBetweenSlices=STEP / 2), tmp_path)
    assert codes(read_image(folder)) == ["sparse-slices"]


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ("ImagePositionPatient", "no ImagePositionPatient in 5 slices of 5"),
        ("ImageOrientationPatient", "no ImageOrientationPatient in 5 slices of 5"),
        ("PixelSpacing", "no PixelSpacing in f000.dcm"),
    ],
)
def test_a_stack_without_place_or_spacing_is_refused(tmp_path: Path, left_out: str, words: str) -> None:
    folder = save(series_objects(ARRAY, **{left_out: None}), tmp_path)
    assert words in str(refusal(folder).got)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImageOrientationPatient", [2, 0, 0, 0, 2, 0]),
        ("PixelSpacing", [0, 1]),
        ("RescaleSlope", 0),
    ],
)
def test_values_that_mean_nothing_are_refused(tmp_path: Path, keyword: str, value: object) -> None:
    folder = save(series_objects(ARRAY, **{keyword: value}), tmp_path)
    assert refusal(folder).subject == f"the DICOM header has no sound {keyword}"


def tilted(angle: float, array: np.ndarray = ARRAY) -> list[Dataset]:
    """Slices as a tilted gantry makes them: the table moves along z, their planes are turned about x."""
    radians = np.deg2rad(angle)
    orientation = [1, 0, 0, 0, round(np.cos(radians), 8), round(-np.sin(radians), 8)]
    return [
        slice_object(pixels, z, ImageOrientationPatient=orientation, GantryDetectorTilt=angle)
        for z, pixels in enumerate(array)
    ]


def test_a_tilted_gantry_is_refused_and_a_turn_of_nothing_is_not(tmp_path: Path) -> None:
    error = refusal(save(tilted(20), tmp_path / "tilted"))
    assert "sheared" in error.subject
    assert "20.0 degrees, 3.4 mm" in str(error.got)
    assert "--untilt" in str(error.remedy)
    assert codes(read_image(save(tilted(0.01), tmp_path / "hardly"))) == []


@pytest.mark.parametrize("angle", [20, -13])
def test_a_tilted_stack_is_resampled_to_where_its_slices_lie(tmp_path: Path, angle: float) -> None:
    """A function that is linear in the patient's world is the same on the upright grid."""
    slope, rows, columns = np.array([1.0, 3.0, 7.0]), 40, 7  # per mm along x, y and z
    slices = tilted(angle, np.zeros((5, rows, columns), np.int16))
    for made in slices:
        along, down = np.array(made.ImageOrientationPatient, float).reshape(2, 3)
        y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        points = np.array(made.ImagePositionPatient, float) + np.multiply.outer(y * SPACING[0], down)
        values = (points + np.multiply.outer(x * SPACING[1], along)) @ slope
        made.PixelData = np.round(values * 50).astype(np.int16).tobytes()
        made.RescaleSlope = 0.02
    image = read_image(save(slices, tmp_path), Reading(untilt=True))
    assert codes(image) == ["gantry-tilt"]
    assert image.array.dtype == np.float32
    geometry = image.geometry
    index = np.stack(np.meshgrid(*[np.arange(size) for size in image.shape], indexing="ij"), axis=-1)
    world = geometry.origin + index @ (np.array(geometry.direction) * geometry.spacing).T
    expected = world[..., ::-1] @ slope
    for z, made in enumerate(slices):
        down = np.array(made.ImageOrientationPatient[3:], float)
        place = (world[z, ..., ::-1] - np.array(made.ImagePositionPatient, float)) @ down / SPACING[0]  # in rows
        inside, outside = (place > -1e-3) & (place < rows - 1 + 1e-3), (place < -0.51) | (place > rows - 0.49)
        np.testing.assert_allclose(image.array[0, z][inside], expected[z][inside], atol=0.02)
        assert (image.array[0, z][outside] == image.array.min()).all()
        assert inside.sum() >= (rows - 1) * columns


def test_planes_without_place_have_the_spacing_that_is_known(tmp_path: Path) -> None:
    pixels = voxels((6, 7))
    image = read_image(save_as(radiograph(pixels), tmp_path / "a.dcm"))
    assert np.array_equal(image.array, pixels[None, None])
    assert image.geometry == Geometry.plane((0.2, 0.1))
    assert codes(image) == ["detector-spacing"]
    exact = read_image(save_as(radiograph(pixels, PixelSpacing=[0.15, 0.1]), tmp_path / "b.dcm"))
    assert (exact.geometry, codes(exact)) == (Geometry.plane((0.15, 0.1)), [])
    unknown = read_image(save_as(radiograph(pixels, ImagerPixelSpacing=None), tmp_path / "c.dcm"))
    assert (unknown.geometry, codes(unknown)) == (Geometry.plane((1, 1)), ["no-pixel-spacing"])
    refused = refusal(save_as(image_object(pixels), tmp_path / "ct.dcm"))
    assert refused.subject == "the DICOM slices have no pixel spacing"
    several = refusal(save_as(radiograph(voxels((3, 6, 7))), tmp_path / "several.dcm"))
    assert several.subject == "the DICOM source holds several volumes"


def test_a_single_slice_has_its_thickness(tmp_path: Path) -> None:
    image = read_image(save([slice_object(ARRAY[0], 0, SliceThickness=4)], tmp_path / "a"))
    assert image.geometry.spacing == pytest.approx((4, *SPACING))
    assert codes(read_image(save([slice_object(ARRAY[0], 0)], tmp_path / "b"))) == ["no-slice-thickness"]


def test_own_functional_groups_count_before_shared_ones(tmp_path: Path) -> None:
    each = [frame_groups(z) for z in range(5)]
    made = enhanced_object(ARRAY, each, ImagePositionPatient=[0, 0, 0], SliceThickness=1)
    image = read_image(save_as(made, tmp_path / "x.dcm"))
    assert np.array_equal(image.array[0], ARRAY)
    assert image.geometry.spacing == pytest.approx((STEP, *SPACING))
    for groups in each:
        groups.PixelMeasuresSequence = Items([item(PixelSpacing=[3.0, 4.0])])
    assert read_image(save_as(made, tmp_path / "own.dcm")).geometry.spacing == pytest.approx((STEP, 3, 4))
    made.PerFrameFunctionalGroupsSequence.pop()
    assert "4 items for 5 frames" in str(refusal(save_as(made, tmp_path / "y.dcm")).got)
    del made.PerFrameFunctionalGroupsSequence
    assert "do not say where they lie" in str(refusal(save_as(made, tmp_path / "z.dcm")))


def test_a_dose_grid_has_its_offsets_and_scaling(tmp_path: Path) -> None:
    made = slice_object(
        ARRAY.astype(np.uint16), 0, Modality="RTDOSE", SOPClassUID="1.2.840.10008.5.1.4.1.1.481.2", NumberOfFrames=5,
        RescaleSlope=None, RescaleIntercept=None, DoseGridScaling="0.5",
        GridFrameOffsetVector=[0.0, 3.0, 6.0, 9.0, 12.0],
    )  # fmt: skip
    image = read_image(save_as(made, tmp_path / "dose.dcm"))
    assert image.geometry.spacing == pytest.approx((3, *SPACING))
    np.testing.assert_allclose(image.array[0], ARRAY.astype(np.uint16) * 0.5)


def csa_header(**entries: list[object]) -> bytes:
    """Siemens' private header, form 2, as nibabel's reader describes it; numbers are texts there."""
    content = b"SV10\4\3\2\1" + struct.pack("<2I", len(entries), 77)
    for name, values in entries.items():
        content += struct.pack("<64si4s3i", name.encode(), len(values), b"FD", 4, len(values), 77)
        for value in values:
            text = str(value).encode() + b"\0"
            content += struct.pack("<4i", len(text), len(text), 77, len(text)) + text + b"\0" * (-len(text) % 4)
    return content


def test_a_mosaic_is_split_as_nibabel_does(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls it experimental
        from nibabel.nicom.dicomwrappers import MosaicWrapper
    orientation = [0.8, 0.6, 0, 0, 0, -1]
    normal = [float(part) for part in -np.cross(orientation[:3], orientation[3:])]
    made = slice_object(
        voxels((12, 15)), 0, Modality="MR", ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"],
        ImageOrientationPatient=orientation, SpacingBetweenSlices=3.3, SliceThickness=3,
    )  # fmt: skip
    assert "a Siemens mosaic without the private header" in str(refusal(save_as(made, tmp_path / "without.dcm")))
    block = made.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", csa_header(NumberOfImagesInMosaic=[7], SliceNormalVector=normal))
    image = read_image(save_as(made, tmp_path / "mosaic.dcm"))
    other = MosaicWrapper(made, csa_header={"tags": {"SliceNormalVector": {"items": normal}}}, n_mosaic=7)
    assert image.shape == (7, 4, 5)
    rows, columns, slices, origin = other.affine[:3].T
    geometry = image.geometry
    steps = (np.array(geometry.direction) * geometry.spacing)[::-1]
    # the normal of the orientation points against that of the mosaic, so that its last slice is the first one here
    np.testing.assert_allclose(steps, np.stack([-slices, rows, columns], axis=1), atol=1e-6)
    np.testing.assert_allclose(geometry.origin[::-1], origin + 6 * slices, atol=1e-6)
    assert np.array_equal(image.array[0], other.get_unscaled_data().transpose(2, 0, 1)[::-1])
