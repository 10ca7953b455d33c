"""Axes and units of NRRD and MetaImage headers, which ITK takes as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nrrd
import numpy as np
import pytest

from autoseg.data.files import read_image
from autoseg.errors import ImageError

VOXELS = np.arange(6 * 7 * 8, dtype=np.int16).reshape(6, 7, 8)
STRAIGHT = np.diag([1.0, 2.0, 3.0])


def write_nrrd(path: Path, directions: np.ndarray = STRAIGHT, **fields: object) -> Path:
    header = {"space": "left-posterior-superior", "space directions": directions, "space origin": [5.0, 6.0, 7.0]}
    nrrd.write(str(path), VOXELS, header | fields)
    return path


def write_meta(path: Path, *lines: str) -> Path:
    header = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
              "ElementSpacing = 1 2 3", "Offset = 5 6 7", *lines, "DimSize = 6 7 8", "ElementType = MET_SHORT",
              "ElementDataFile = LOCAL", ""]  # fmt: skip
    path.write_bytes("\n".join(header).encode() + VOXELS.T.tobytes())
    return path


def sheared() -> np.ndarray:
    directions = STRAIGHT.copy()
    directions[2, 1] = 1.5
    return directions


def test_shears_are_refused(tmp_path: Path) -> None:
    for path in (
        write_nrrd(tmp_path / "x.nrrd", sheared()),
        write_meta(tmp_path / "x.mha", "TransformMatrix = 1 0 0 0 1 0 0 0.5 1"),
    ):
        with pytest.raises(ImageError, match="orthogonal"):
            read_image(path)


def test_rounding_of_directions_is_taken_out(tmp_path: Path) -> None:
    angle = 0.3
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    geometry = read_image(write_nrrd(tmp_path / "x.nrrd", np.round((rotation * [1, 2, 3]).T, 4))).geometry
    matrix = np.asarray(geometry.direction)
    assert np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-9)
    assert np.allclose(matrix[::-1, ::-1], rotation, atol=1e-4)


def test_the_length_of_a_direction_belongs_to_the_spacing(tmp_path: Path) -> None:
    image = read_image(write_meta(tmp_path / "x.mha", "TransformMatrix = 2 0 0 0 2 0 0 0 2"))
    assert image.geometry.spacing == (6.0, 4.0, 2.0)
    assert np.array_equal(image.geometry.direction, np.eye(3))


@pytest.mark.parametrize("matrix", ["0 0 0 0 0 0 0 0 0", "1 0 0 1 0 0 0 0 1"])
def test_directions_that_are_none_are_refused(tmp_path: Path, matrix: str) -> None:
    with pytest.raises(ImageError):
        read_image(write_meta(tmp_path / "x.mha", f"TransformMatrix = {matrix}"))


@pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("cm", 10.0), ("mm", 1.0)])
def test_units_are_converted_and_told(tmp_path: Path, unit: str, factor: float) -> None:
    for image in (
        read_image(write_nrrd(tmp_path / "x.nrrd", **{"space units": [unit] * 3})),
        read_image(write_meta(tmp_path / "x.mha", f"DistanceUnits = {unit}")),
    ):
        assert np.allclose(image.geometry.spacing, np.array([3.0, 2.0, 1.0]) * factor)
        assert np.allclose(image.geometry.origin, np.array([7.0, 6.0, 5.0]) * factor)
        assert [remark.code for remark in image.remarks] == ([] if factor == 1 else ["unit"])


@pytest.mark.parametrize("units", [["furlong"] * 3, ["mm", "mm", "um"]])
def test_units_that_are_not_understood_are_refused(tmp_path: Path, units: Sequence[str]) -> None:
    with pytest.raises(ImageError, match="unit of length"):
        read_image(write_nrrd(tmp_path / "x.nrrd", **{"space units": list(units)}))


def test_numbers_are_scaled_as_the_header_says(tmp_path: Path) -> None:
    lines = "ElementToIntensityFunctionSlope = 2", "ElementToIntensityFunctionOffset = -1000"
    assert np.array_equal(read_image(write_meta(tmp_path / "x.mha", *lines)).array[0], VOXELS.T * 2.0 - 1000)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    directions = np.vstack([[np.nan] * 3, STRAIGHT])
    header = {"space": "left-posterior-superior", "space directions": directions, "space origin": [0, 0, 0],
              "kinds": ["complex", "domain", "domain", "domain"]}  # fmt: skip
    nrrd.write(str(tmp_path / "x.nrrd"), np.ones((2, 6, 7, 8), np.float32), header)
    with pytest.raises(ImageError, match="complex"):
        read_image(tmp_path / "x.nrrd")


def test_a_range_without_a_spacing_is_refused(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "x.nrrd"), VOXELS, {"axis mins": [0, 0, 0], "axis maxs": [6, 14, 24]})
    with pytest.raises(ImageError, match="spacings"):
        read_image(tmp_path / "x.nrrd")
