"""Landmarks: points that somebody marked in an image, from tables (CSV) and 3D Slicer's files, in mm of its world.

Files hold x, y, z in ITK's world (LPS: x to the patient's left, y to the back, z to the head), as ITK, elastix and ANTs
have them; arrays here are in the order (z, y, x), as everywhere else.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from autoseg.data.image import Geometry, Image
from autoseg.documents import parse_json
from autoseg.errors import ConfigurationError, ImageError
from autoseg.records import write_text

LandmarkUnit = Literal["mm", "voxel"]
"""What coordinates of a table are: millimetres in the world, or voxel indices from 0 (pixels of a picture)."""

ENDINGS = (".csv", ".tsv", ".txt", ".fcsv", ".mrk.json")

_AXES = "xyz"
_EDGE = 0.5 + 1e-3  # voxels from the centre of the outermost one to the image's edge, and what rounding adds
_SLICER_SYSTEMS = {"0": "RAS", "1": "LPS", "RAS": "RAS", "LPS": "LPS"}
_NAMED = 5  # landmarks in a message


def read_landmarks(path: str | Path, geometry: Geometry, unit: LandmarkUnit = "mm") -> np.ndarray:
    """Reads the landmarks of an image.

    A table (.csv, .tsv, .txt; separated by commas, semicolons or tabs) has a header with the columns x, y and, for a
    volume, z, in capitals or not and among others; or no header and just these columns. A `.fcsv` or `.mrk.json` of
    3D Slicer is in mm and says itself which way its axes point.

    Args:
        path: a file with one of `ENDINGS`.
        geometry: of the image that the points lie in.
        unit: of a table's coordinates.

    Returns:
        (n, D) float64 in mm, world coordinates (z, y, x), or (y, x) for a plane image; n > 0, in the file's order.

    Raises:
        ConfigurationError: unreadable, another form, a coordinate that is no number, columns that are missing for the
            image's dimension, or no landmark.
    """
    path = Path(path)
    text = _text(path)
    name = path.name.lower()
    if name.endswith((".fcsv", ".mrk.json")):
        if unit != "mm":
            raise ConfigurationError(
                "the file is in mm by its definition", where=path, got=f"unit {unit}", remedy="leave out the unit"
            )
        points = _slicer_table(text, path) if name.endswith(".fcsv") else _slicer_markups(text, path)
        landmarks = points[:, : geometry.dimension]
    elif name.endswith(ENDINGS):
        landmarks = _table(text, path, geometry.dimension)
    else:
        raise ConfigurationError("unknown ending of a landmark file", where=path, expected=", ".join(ENDINGS))
    if not len(landmarks):
        raise ConfigurationError("there is no landmark in the file", where=path, expected="a row for each landmark")
    ordered = landmarks[:, ::-1]
    return _world(ordered, geometry) if unit == "voxel" else np.ascontiguousarray(ordered)


def check_landmarks(points: np.ndarray, image: Image, where: object) -> None:
    """Refuses landmarks outside the voxels of their image.

    Args:
        points: (n, D) as of `read_landmarks`.
        where: the file, for the message.

    Raises:
        ImageError: some lie outside.
    """
    dimension = image.geometry.dimension
    shape = np.array(image.shape[3 - dimension :])
    index = _index(points, image.geometry)
    outside = np.flatnonzero(((index < -_EDGE) | (index > shape - 1 + _EDGE)).any(axis=1))
    if outside.size:
        names = ", ".join(str(number + 1) for number in outside[:_NAMED]) + (", ..." if outside.size > _NAMED else "")
        first = ", ".join(f"{value:.1f}" for value in index[outside[0]][::-1])
        size = " x ".join(str(length) for length in shape[::-1])
        raise ImageError(
            "landmarks lie outside of their image",
            where=where,
            got=f"{outside.size} of {len(points)} (number {names}); the first at voxel ({first})",
            expected=f"within {size} voxels ({', '.join(_AXES[:dimension])})",
            remedy="check which image the file belongs to, whether it is in mm or voxels (--landmark-unit), whether it "
            "was made on a larger copy of the image, and that x and y point to the patient's left and back (LPS)",
        )


def write_landmarks(path: str | Path, points: np.ndarray) -> None:
    """Writes points, (n, D) in mm in the order (z, y, x), as a CSV with the columns x, y and z; whole or not at all."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_AXES[: points.shape[1]])
    writer.writerows([f"{value:.6f}" for value in row[::-1]] for row in points)
    write_text(path, stream.getvalue())


def _world(index: np.ndarray, geometry: Geometry) -> np.ndarray:
    matrix, origin = _placing(geometry)
    world: np.ndarray = index @ matrix.T + origin
    return world


def _index(points: np.ndarray, geometry: Geometry) -> np.ndarray:
    matrix, origin = _placing(geometry)
    index: np.ndarray = np.linalg.solve(matrix, (points - origin).T).T
    return index


def _placing(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and offset that take an index to the world, for the axes that the image has."""
    axes = slice(3 - geometry.dimension, 3)
    matrix = np.asarray(geometry.direction, float) * np.asarray(geometry.spacing, float)
    return matrix[axes, axes], np.asarray(geometry.origin, float)[axes]


def _table(text: str, path: Path, dimension: int) -> np.ndarray:
    rows = _rows(text)
    axes = _AXES[:dimension]
    if not rows:
        return np.empty((0, dimension))
    header = [cell.strip().casefold() for cell in rows[0][1]]
    if all(_is_number(cell) for cell in header):
        if len(header) != dimension:
            raise ConfigurationError(
                "a table without a header has other columns than coordinates",
                where=path,
                got=f"{len(header)} columns",
                expected=f"{dimension}: {', '.join(axes)}",
                remedy="add a header that names the columns",
            )
        return _numbers(rows, range(dimension), path)
    missing = [name for name in axes if header.count(name) != 1]
    if missing:
        raise ConfigurationError(
            f"the landmarks of a {dimension}D image need the columns {', '.join(axes)}",
            where=path,
            got=", ".join(rows[0][1]),
            remedy=f"name the column of {missing[0]} so, once",
        )
    return _numbers(rows[1:], [header.index(name) for name in axes], path)


def _slicer_table(text: str, path: Path) -> np.ndarray:
    """The points of 3D Slicer's older format: a CSV whose comments name the columns and the direction of the axes."""
    system = re.search(r"^#\s*CoordinateSystem\s*=\s*(\w+)", text, re.MULTILINE)
    named = re.search(r"^#\s*columns\s*=\s*(.+?)\)?\s*$", text, re.MULTILINE)
    columns = [name.strip() for name in (named[1] if named else "id,x,y,z").split(",")]
    if not set(_AXES) <= set(columns):
        raise ConfigurationError("the columns x, y, z are missing", where=path, got=", ".join(columns))
    positions = [columns.index(name) for name in _AXES]
    return _lps(_numbers(_rows(text), positions, path), system[1] if system else "RAS", path)


def _slicer_markups(text: str, path: Path) -> np.ndarray:
    """The control points of all point lists of 3D Slicer's JSON format."""
    form = 'a "markups" list with "controlPoints" that have a "position" of three numbers'
    try:
        content: Any = parse_json(text, path)
        lists = [
            _lps(
                np.array([point["position"] for point in markup["controlPoints"]], float).reshape(-1, 3),
                str(markup.get("coordinateSystem", "LPS")),
                path,
            )
            for markup in content["markups"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"no markups of 3D Slicer: {error}", where=path, expected=form) from None
    return np.concatenate([np.empty((0, 3)), *lists])


def _lps(points: np.ndarray, system: str, path: Path) -> np.ndarray:
    signs = _SLICER_SYSTEMS.get(system.upper())
    if signs is None:
        raise ConfigurationError(
            "coordinates in another system than the world", where=path, got=system, expected="RAS or LPS"
        )
    return points * (-1, -1, 1) if signs == "RAS" else points


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """(number of the line, cells) of each line that is neither empty nor a comment."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    lines = [(number, line) for number, line in lines if not line.lstrip().startswith("#")]
    if not lines:
        return []
    separator = max(",;\t", key=lines[0][1].count)
    return [(number, next(csv.reader([line], delimiter=separator))) for number, line in lines]


def _numbers(rows: Iterable[tuple[int, Sequence[str]]], columns: Iterable[int], path: Path) -> np.ndarray:
    columns = list(columns)
    numbers = []
    for number, cells in rows:
        chosen = [cells[column].strip() if column < len(cells) else "" for column in columns]
        wrong = next((cell for cell in chosen if not _is_number(cell)), None)
        if wrong is not None:
            raise ConfigurationError(
                "a coordinate is no number", where=f"{path}, line {number}", got=repr(wrong), remedy="mend the line"
            )
        numbers.append([float(cell) for cell in chosen])
    return np.array(numbers, float).reshape(-1, len(columns))


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot be read ({error})", where=path, remedy="check the path") from None
