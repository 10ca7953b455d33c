"""MetaImage against ITK's reader, and damage that ITK does not survive or does not see."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data import itk
from autoseg.data.files import read_image
from autoseg.errors import ImageError

DTYPES = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64]


def write(
    path: Path, shape: tuple[int, ...], dtype: type = np.int16, *, packed: bool = True, vector: bool = False
) -> None:
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    image = sitk.GetImageFromArray(array, isVector=vector)
    if image.GetDimension() == 3:
        image.SetSpacing((0.5, 0.75, 2.0))
        image.SetOrigin((-12.5, 30.0, 7.25))
        image.SetDirection((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    sitk.WriteImage(image, str(path), useCompression=packed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("ending", [".mha", ".mhd"])
@pytest.mark.parametrize(
    ("shape", "vector"), [((4, 5, 6), False), ((5, 6), False), ((2, 4, 5, 6), False), ((4, 5, 6, 3), True)]
)
def test_equals_itk(
    tmp_path: Path, dtype: type, packed: bool, ending: str, shape: tuple[int, ...], vector: bool
) -> None:
    path = tmp_path / f"x{ending}"
    write(path, shape, dtype, packed=packed, vector=vector)
    found, expected = read_image(path), itk.read(path)
    assert found.array.dtype == expected.array.dtype
    assert np.array_equal(found.array, expected.array)
    assert found.geometry == expected.geometry


def changed(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"ElementDataFile = LOCAL", b"ElementDataFile = LO", "there is no LO beside it"),
        (b"NDims = 3", b"NDims = 9", "header"),
        (b"NDims = 3", b"NDims = x", "header"),
        (b"DimSize = 6 5 4", b"DimSize = 6 5 400000", "the header promises"),
        (b"DimSize = 6 5 4", b"DimSize = 6 5 -4", "axes"),
        (b"DimSize = 6 5 4", b"DimSize = 6 5", "axes"),
        (b"MET_SHORT", b"MET_SHIRT", "ElementType MET_SHIRT"),
        (b"ElementSpacing = 0.5", b"ElementSpacing = 0.0", "ElementSpacing"),
        (b"ElementSpacing = 0.5", b"ElementSpacing = nan", "ElementSpacing"),
        (b"BinaryData = True", b"BinaryData = Nope", "text"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_header_is_told(tmp_path: Path, old: bytes, new: bytes, told: str, packed: bool) -> None:
    path = tmp_path / "x.mha"
    write(path, (4, 5, 6), packed=packed)
    changed(path, old, new)
    with pytest.raises(ImageError, match=told):
        read_image(path)


def test_damaged_voxels_are_told_where_itk_fills_them_up(tmp_path: Path) -> None:
    path = tmp_path / "x.mha"
    write(path, (14, 25, 36))
    content = bytearray(path.read_bytes())
    content[-4000] ^= 0xFF
    path.write_bytes(bytes(content))
    assert itk.read(path).shape == (14, 25, 36)
    with pytest.raises(ImageError, match="damaged voxels"):
        read_image(path)


def test_a_cut_off_file_is_told(tmp_path: Path) -> None:
    for packed in (True, False):
        path = tmp_path / "x.mha"
        write(path, (4, 5, 6), packed=packed)
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(ImageError, match="where the header promises"):
            read_image(path)


def test_voxels_may_be_the_last_bytes_of_their_file(tmp_path: Path) -> None:
    write(tmp_path / "x.mhd", (4, 5, 6), packed=False)
    expected = read_image(tmp_path / "x.mhd").array
    raw = tmp_path / "x.raw"
    raw.write_bytes(b"some header" + raw.read_bytes())
    changed(tmp_path / "x.mhd", b"ElementDataFile", b"HeaderSize = -1\nElementDataFile")
    assert np.array_equal(read_image(tmp_path / "x.mhd").array, expected)


def test_voxels_that_unpack_to_more_than_there_can_be_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.mha"
    write(path, (4, 5, 6))
    header = path.read_bytes().partition(b"ElementDataFile")[0]
    packed = zlib.compress(bytes(240))
    header = header.replace(b"DimSize = 6 5 4", b"DimSize = 60000 60000 60000")
    path.write_bytes(header + b"ElementDataFile = LOCAL\n" + packed)
    with pytest.raises(ImageError, match="promises"):
        read_image(path)
