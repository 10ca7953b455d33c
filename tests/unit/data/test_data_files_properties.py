"""Files keep voxels and their places: whatever the shape, the kind of number, the spacing and the direction."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.data.files import read_image, read_labels, write_image, write_labels
from autoseg.data.image import Geometry, Image

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.tuples(*[st.integers(1, 6)] * 3)
MM = st.floats(0.1, 10)
DTYPES = st.sampled_from((np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64))
INEXACT = {".nii.gz": 1e-4, ".nii": 1e-4, ".nrrd": 1e-9, ".mha": 1e-9}
"""Error in mm of a voxel's place: NIfTI's header has single precision, the others write all digits."""


def turned(seed: int, dimension: int) -> np.ndarray:
    """Orthonormal columns, right-handed."""
    direction, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dimension, dimension)))
    direction[:, 0] *= np.linalg.det(direction)
    return direction


@st.composite
def geometries(draw: st.DrawFn, dimension: int) -> Geometry:
    """Anywhere within half a metre, in any direction, mirrored ones among them."""
    direction = np.eye(3)
    seed = draw(SEEDS)
    direction[3 - dimension :, 3 - dimension :] = turned(seed, dimension)
    if dimension == 3 and draw(st.booleans()):
        direction[:, 0] *= -1
    z, y, x = (tuple(map(float, row)) for row in direction)
    origin = np.random.default_rng(seed).uniform(-500, 500, 3)
    if dimension == 2:
        plane = Geometry.plane((draw(MM), draw(MM)))
        return Geometry(plane.spacing, (0.0, *map(float, origin[1:])), (z, y, x), 2)
    return Geometry((draw(MM), draw(MM), draw(MM)), tuple(map(float, origin)), (z, y, x))


def voxels(seed: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.floating):
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def corners(geometry: Geometry, shape: tuple[int, ...]) -> np.ndarray:
    """(8, 3) places of the outermost voxels in mm."""
    index = np.stack(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)
    return index * np.asarray(geometry.spacing) @ np.asarray(geometry.direction).T + geometry.origin


def assert_same_place(found: Geometry, expected: Geometry, shape: tuple[int, ...], allowed: float) -> None:
    assert found.dimension == expected.dimension
    np.testing.assert_allclose(corners(found, shape), corners(expected, shape), atol=allowed, rtol=0)
    np.testing.assert_allclose(found.spacing, expected.spacing, atol=allowed, rtol=0)


@given(geometries(3), SEEDS, SHAPES, DTYPES, st.sampled_from(sorted(INEXACT)), st.integers(1, 2))
def test_a_volume_is_read_as_it_was_written(
    tmp_path: Path, geometry: Geometry, seed: int, shape: tuple[int, ...], dtype: Any, ending: str, channels: int
) -> None:
    image = Image(voxels(seed, (channels, *shape), dtype), geometry)
    write_image(tmp_path / f"x{ending}", image)
    read = read_image(tmp_path / f"x{ending}")
    assert read.array.dtype == dtype
    np.testing.assert_array_equal(read.array, image.array)
    assert_same_place(read.geometry, geometry, shape, INEXACT[ending])


@given(geometries(2), SEEDS, SHAPES, st.sampled_from((".nrrd", ".mha")))
def test_a_plane_is_read_as_it_was_written(
    tmp_path: Path, geometry: Geometry, seed: int, shape: tuple[int, ...], ending: str
) -> None:
    shape = (1, *shape[1:])
    image = Image(voxels(seed, (1, *shape), np.int16), geometry)
    write_image(tmp_path / f"x{ending}", image)
    read = read_image(tmp_path / f"x{ending}")
    np.testing.assert_array_equal(read.array, image.array)
    assert_same_place(read.geometry, geometry, shape, INEXACT[ending])


@given(geometries(3), SEEDS, SHAPES, st.sampled_from((2, 300, 70000)))
def test_labels_are_read_as_they_were_written(
    tmp_path: Path, geometry: Geometry, seed: int, shape: tuple[int, ...], most: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, most, shape)
    elsewhere = replace(geometry, origin=geometry.origin[::-1])  # geometries of like files are kept in memory
    for place in (geometry, elsewhere, geometry):
        write_labels(tmp_path / "x.nii.gz", labels, place)
        read = read_labels(tmp_path / "x.nii.gz")
        np.testing.assert_array_equal(read.array[0], labels)
        assert_same_place(read.geometry, place, shape, INEXACT[".nii.gz"])


@settings(max_examples=15)
# slices of one row or one column, which no scanner makes, ITK's reader stacks along that axis
@given(SEEDS, st.tuples(st.integers(2, 5), st.integers(2, 6), st.integers(2, 6)), st.tuples(MM, MM, MM))
def test_a_dicom_series_lies_where_its_slices_do(
    tmp_path: Path, seed: int, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    folder = tmp_path / "series"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    array, axes = voxels(seed, shape, np.int16), turned(seed, 3)  # columns x, y and z, each (x, y, z)
    origin = np.random.default_rng(seed).uniform(-500, 500, 3)
    step = axes * spacing[::-1]
    positions = [origin + z * step[:, 2] for z in range(len(array))]
    for place in np.random.default_rng(seed).permutation(len(array)):  # files in any order
        write_slice(folder / f"{place:02d}.dcm", array[place], spacing, axes, positions[place], number=int(place))
    read = read_image(folder)
    np.testing.assert_array_equal(read.array[0], array)
    index = np.stack(np.meshgrid(*[(0, n - 1) for n in shape[::-1]], indexing="ij"), axis=-1).reshape(-1, 3)
    expected = (index @ step.T + origin)[:, ::-1].reshape(2, 2, 2, 3).transpose(2, 1, 0, 3).reshape(-1, 3)
    # DICOM's numbers have sixteen characters at most
    np.testing.assert_allclose(corners(read.geometry, shape), expected, atol=1e-5, rtol=0)


def write_slice(
    path: Path, pixels: np.ndarray, spacing: tuple[float, ...], axes: np.ndarray, position: np.ndarray, *, number: int
) -> None:
    """Writes a slice (Y, X) of a series by SimpleITK; spacing is (z, y, x), axes and position are (x, y, z)."""
    image = sitk.GetImageFromArray(pixels[None])
    image.SetSpacing(spacing[::-1])
    tags = {
        "0008|0060": "CT",
        "0008|0018": f"1.2.826.0.1.3680043.2.1125.2.{number + 1}",
        "0020|000d": "1.2.826.0.1.3680043.2.1125.1",
        "0020|000e": "1.2.826.0.1.3680043.2.1125.2",
        "0020|0013": str(number + 1),
        "0020|0032": "\\".join(f"{value:.10g}" for value in position),
        "0020|0037": "\\".join(f"{value:.10g}" for value in axes[:, :2].T.ravel()),
    }
    for tag, value in tags.items():
        image.SetMetaData(tag, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(path))
    writer.Execute(image)
