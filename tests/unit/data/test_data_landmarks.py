"""Landmark files of several programs, all to the same points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autoseg.data import itk
from autoseg.data.image import Geometry, Image
from autoseg.data.landmarks import check_landmarks, read_landmarks, write_landmarks
from autoseg.errors import ConfigurationError, ImageError

VOLUME = Geometry(
    spacing=(3.0, 0.5, 0.7),
    origin=(5.0, -2.0, 1.0),
    direction=((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
)
PLANE = Geometry.plane()
POINTS = np.array([[3.0, 2.0, 1.0], [-6.5, 5.0, 4.25]])  # (z, y, x) of x, y, z = 1, 2, 3 and 4.25, 5, -6.5


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "x,y,z\n1,2,3\n4.25,5,-6.5\n"),
        ("a.csv", "1,2,3\n4.25,5,-6.5"),
        ("a.csv", "\ufeffname;Z;X;Y\none;3;1;2\n\ntwo;-6.5;4.25;5\n"),
        ("a.txt", "X\tY\tZ\n# a remark\n1\t2\t3\n4.25\t5\t-6.5\n"),
        (
            "a.fcsv",
            "# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n"
            "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
            "1,1,2,3,0,0,0,1,1,1,0,F-1,,\n2,4.25,5,-6.5,0,0,0,1,1,1,0,F-2,,\n",
        ),
        (
            "a.fcsv",
            "# Markups fiducial file version = 4.10\n# CoordinateSystem = 0\n# columns = id,x,y,z,label\n"
            "a,-1,-2,3,F-1\nb,-4.25,-5,-6.5,F-2\n",
        ),
        (
            "a.mrk.json",
            json.dumps(
                {
                    "markups": [
                        {
                            "coordinateSystem": "RAS",
                            "controlPoints": [{"position": [-1, -2, 3]}, {"position": [-4.25, -5, -6.5]}],
                        }
                    ]
                }
            ),
        ),
    ],
)
def test_points_are_the_same_in_every_form(name: str, text: str, tmp_path: Path) -> None:
    found = read_landmarks(written(tmp_path / name, text), VOLUME)
    assert found == pytest.approx(POINTS)
    assert found.dtype == np.float64


def test_voxels_lie_where_itk_says(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "x,y,z\n3,4,1\n")
    itk.write(tmp_path / "a.nii.gz", Image(np.zeros((1, 5, 6, 7), np.uint8), VOLUME))
    expected = itk.library().ReadImage(str(tmp_path / "a.nii.gz")).TransformIndexToPhysicalPoint((3, 4, 1))
    assert read_landmarks(path, VOLUME, "voxel")[0] == pytest.approx(expected[::-1], abs=1e-5)


def test_a_plane_needs_two_columns(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", " ,X,Y\n1,2124,1584\n2,2592,1552\n")
    assert read_landmarks(path, PLANE).tolist() == [[1584, 2124], [1552, 2592]]
    with pytest.raises(ConfigurationError, match="3D image need the columns x, y, z"):
        read_landmarks(path, VOLUME)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "no landmark"),
        ("a.csv", "x,y,z\n", "no landmark"),
        ("a.csv", "x,y,z\n1,2,3\n1,two,3\n", "line 3"),
        ("a.csv", "x,y,z\n1,2\n", "line 2"),
        ("a.csv", "x,y,z\n1,2,nan\n", "no number"),
        ("a.csv", "1,2,3,4\n", "without a header"),
        ("a.csv", "x,y,depth\n1,2,3\n", "need the columns"),
        ("a.fcsv", "# CoordinateSystem = IJK\n# columns = id,x,y,z\na,1,2,3\n", "another system"),
        ("a.fcsv", "# columns = id,label\na,b\n", "columns x, y, z are missing"),
        ("a.mrk.json", '{"points": []}', "no markups"),
        ("a.mrk.json", '{"markups": []}', "no landmark"),
        ("a.vtk", "", "unknown ending"),
    ],
)
def test_what_is_wrong_is_said(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_landmarks(written(tmp_path / name, text), VOLUME)


def test_a_missing_file_and_a_wrong_unit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_landmarks(tmp_path / "none.csv", VOLUME)
    with pytest.raises(ConfigurationError, match="mm by its definition"):
        read_landmarks(written(tmp_path / "a.fcsv", "a,1,2,3\n"), VOLUME, "voxel")


def test_landmarks_outside_are_named(tmp_path: Path) -> None:
    image = Image(np.zeros((1, 1, 20, 30), np.uint8), PLANE)
    corners = np.array([[-0.5, -0.5], [19.5, 29.5]])
    check_landmarks(corners, image, "a.csv")
    with pytest.raises(ImageError, match=r"number 2\); the first at voxel \(30.6, 3.0\)") as raised:
        check_landmarks(np.array([[3.0, 3.0], [3.0, 30.6]]), image, "a.csv")
    assert "30 x 20" in str(raised.value)
    assert "--landmark-unit" in str(raised.value)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_landmarks(tmp_path / "a.csv", POINTS)
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").startswith("x,y,z\n1.000000,2.000000,3.000000\n")
    assert read_landmarks(tmp_path / "a.csv", VOLUME) == pytest.approx(POINTS)
