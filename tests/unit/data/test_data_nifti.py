"""NIfTI voxels against ITK's reader, and what that reader hides."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data import itk, nifti
from autoseg.data.files import read_image
from autoseg.errors import ImageError

DTYPES = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64]


def write(path: Path, array: np.ndarray) -> bytearray:
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(path))
    return bytearray(path.read_bytes())


def voxels(shape: tuple[int, ...], dtype: type = np.int16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 5, 6), (2, 4, 5, 6), (1, 5, 6), (5, 6)])
def test_equals_itk(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    write(tmp_path / "x.nii", voxels(shape, dtype))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "x.nii")))
    array = read_image(tmp_path / "x.nii").array
    assert array.dtype == expected.dtype
    assert np.array_equal(array.ravel(), expected.ravel())
    array[:] = 0  # callers may write to what they read


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize(("slope", "intercept"), [(2.0, -1024.0), (0.1, 0.0), (1.0, 5.0), (0.0, 0.0)])
def test_scaled_voxels_equal_itk(tmp_path: Path, dtype: type, slope: float, intercept: float) -> None:
    path = tmp_path / "x.nii.gz"
    content = write(tmp_path / "x.nii", voxels((4, 5, 6), dtype))
    content[112:120] = struct.pack("<2f", slope, intercept)
    path.write_bytes(gzip.compress(bytes(content)))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    array = read_image(path).array[0]
    assert array.dtype == expected.dtype
    assert np.array_equal(array, expected)


def test_slope_zero_means_unscaled_as_the_standard_says(tmp_path: Path) -> None:
    content = write(tmp_path / "x.nii", voxels((4, 5, 6)))
    content[112:120] = struct.pack("<2f", 0.0, 7.0)  # ITK adds the intercept
    (tmp_path / "x.nii").write_bytes(bytes(content))
    assert np.array_equal(read_image(tmp_path / "x.nii").array[0], voxels((4, 5, 6)))


def test_big_endian_voxels(tmp_path: Path) -> None:
    array = voxels((4, 5, 6), np.float32)
    content = write(tmp_path / "x.nii", array)
    formats = [("i", [0, 32, 36 - 4]), ("h", [36, *range(40, 56, 2), 68, 70, 72, 74, 120, 252, 254]),
               ("f", [56, 60, 64, *range(76, 120, 4), 124, 128, 132, 136, *range(256, 328, 4)])]  # fmt: skip
    for code, offsets in formats:
        for offset in dict.fromkeys(offsets):
            size = struct.calcsize(code)
            content[offset : offset + size] = content[offset : offset + size][::-1]
    content[352:] = array.astype(">f4").tobytes()
    (tmp_path / "x.nii").write_bytes(bytes(content))
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "x.nii"))), array), "the test is right"
    assert np.array_equal(read_image(tmp_path / "x.nii").array[0], array)


def test_vector_and_colour_nifti_are_channels(tmp_path: Path) -> None:
    array = voxels((4, 5, 6, 3), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / "x.nii.gz"))
    assert np.array_equal(read_image(tmp_path / "x.nii.gz").array, np.moveaxis(array, -1, 0))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_kept(tmp_path: Path, ending: str, value: float) -> None:
    array = voxels((4, 5, 6), np.float32)
    array[1, 2, 3] = value
    write(tmp_path / f"x{ending}", array)
    assert np.array_equal(read_image(tmp_path / f"x{ending}").array[0], array, equal_nan=True)


def test_damage_inside_the_compressed_voxels_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.nii.gz"
    content = write(path, voxels((20, 20, 20)))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(path)


def test_gzip_in_several_members(tmp_path: Path) -> None:
    array = voxels((4, 5, 6))
    content = bytes(write(tmp_path / "x.nii", array))
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    assert np.array_equal(read_image(tmp_path / "x.nii.gz").array[0], array)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(400)])
def test_other_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.nii").write_bytes(content)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path / "x.nii")


def test_sheared_axes_are_explained(tmp_path: Path) -> None:
    content = write(tmp_path / "x.nii", voxels((4, 5, 6)))
    content[252:256] = struct.pack("<2h", 0, 1)  # no qform; the sform counts
    content[280:328] = struct.pack("<12f", 1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    (tmp_path / "x.nii").write_bytes(bytes(content))
    with pytest.raises(ImageError, match="orthogonal axes"):
        read_image(tmp_path / "x.nii")


def placed(path: Path, shape: tuple[int, ...], **changes: tuple[str, int, float]) -> None:
    """A volume with a rotated direction, and some header fields (format, offset, value) changed."""
    image = sitk.GetImageFromArray(voxels(shape))
    image.SetDirection((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((-12.5, 30.0, 7.25))
    sitk.WriteImage(image, str(path))
    content = bytearray(path.read_bytes())
    for form, offset, value in changes.values():
        struct.pack_into(form, content, offset, value)
    path.write_bytes(bytes(content))


PLACINGS = {
    "none": {},
    "pixdim": {"x": ("<f", 80, 0.6)},
    "handedness": {"qfac": ("<f", 76, -1.0)},
    "units": {"units": ("<b", 123, 3)},
    "origin": {"srow": ("<f", 292, 99.0), "offset": ("<f", 268, 99.0)},
    "qform alone": {"sform": ("<h", 254, 0)},
    "sform alone": {"qform": ("<h", 252, 0)},
    "neither": {"qform": ("<h", 252, 0), "sform": ("<h", 254, 0)},
}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_geometry_is_itks_whatever_was_read_before(tmp_path: Path, ending: str) -> None:
    shapes = {"a": (4, 5, 6), "b": (7, 3, 2), "c": (1, 5, 6), "d": (4, 5, 1)}
    for name, changes in PLACINGS.items():
        for file, shape in shapes.items():
            plain, path = tmp_path / "plain.nii", tmp_path / f"{file}{ending}"
            placed(plain, shape, **changes)
            path.write_bytes(gzip.compress(plain.read_bytes()) if ending == ".nii.gz" else plain.read_bytes())

            found, expected = read_image(path), itk.read(path)

            assert found.geometry == expected.geometry, (name, shape)
            assert found.shape == expected.shape


def test_itk_reads_one_header_of_those_that_lie_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    read_header = itk.read_nifti_header
    monkeypatch.setattr(itk, "read_nifti_header", lambda path: asked.append(path) or read_header(path))
    nifti._geometry.cache_clear()
    for name, shape in {"image": (4, 5, 6), "label": (4, 5, 6), "larger": (8, 9, 10)}.items():
        placed(tmp_path / f"{name}.nii", shape)
        assert read_image(tmp_path / f"{name}.nii").shape == shape

    assert asked == [tmp_path / "image.nii"]
