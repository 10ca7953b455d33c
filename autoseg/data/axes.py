"""Axes as files state them: at right angles but for rounding, which is taken out, and in some unit of length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from autoseg.data.image import Geometry, Image, Remark, Vector
from autoseg.errors import ImageError

MILLIMETRES = {
    "nm": 1e-6, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "mm": 1.0,
    "millimeter": 1.0, "millimetre": 1.0, "cm": 10.0, "centimeter": 10.0, "m": 1000.0, "meter": 1000.0, "inch": 25.4,
}  # fmt: skip
"""Names of units of length."""

_UNSAID = {"?", "none", "unknown", "nounit", "pixel"}
_SHEAR = 0.1  # voxels by which a corner may lie beside where orthogonal axes would have it
_ROUNDING = 1e-6  # of direction cosines in single precision
_SCALE = 1e-4  # relative difference of a direction's length from 1 that is rounding


def rectified(geometry: Geometry, shape: Sequence[int], where: Path) -> Geometry:
    """A geometry with direction cosines at right angles; the length of a longer direction goes to the spacing.

    Args:
        geometry: as a file states it.
        shape: (Z, Y, X).
        where: the file, for errors.

    Raises:
        ImageError: sheared axes, or directions that are none.
    """
    matrix = np.asarray(geometry.direction)
    lengths = np.linalg.norm(matrix, axis=0)
    stated = np.isfinite([*lengths, *geometry.spacing, *geometry.origin]).all() and lengths.min() > 0
    if not stated or abs(np.linalg.det(matrix / lengths)) < _SCALE:
        raise ImageError(
            "the directions of the axes do not say where the image lies",
            where=where,
            got=f"{geometry.direction} (z, y, x)",
            expected="three directions at right angles",
            remedy="mend the header",
        )
    spacing = np.asarray(geometry.spacing)
    if np.abs(lengths - 1).max() > _SCALE:
        spacing = spacing * lengths
    direction = right_angled(matrix / lengths, spacing, shape, where)
    if np.abs(direction - matrix).max() <= _ROUNDING:
        return geometry
    rows = [_vector(row) for row in direction]
    return replace(geometry, spacing=_vector(spacing), direction=(rows[0], rows[1], rows[2]))


def right_angled(direction: np.ndarray, spacing: np.ndarray, lengths: Sequence[int], where: Path | None) -> np.ndarray:
    """Direction cosines (3, 3), a column for each axis, with the rounding of the file taken out.

    Args:
        direction: columns of length 1.
        spacing: of the axes.
        lengths: voxels along them.
        where: the file, for errors.

    Raises:
        ImageError: the axes are sheared.
    """
    left, _, right = np.linalg.svd(direction)
    nearest: np.ndarray = left @ right
    distance = np.linalg.norm(corners(lengths) * spacing @ (direction - nearest).T, axis=1).max()
    if distance > _SHEAR * spacing.min():
        raise ImageError(
            "the axes of the image are not orthogonal",
            where=where,
            got=f"a corner {distance:.3g} mm beside where orthogonal axes would have it",
            expected="orthogonal axes",
            remedy="write the file anew with orthogonal axes (resample it, or drop the shear from its header)",
        )
    exact = np.abs(direction - nearest).max() < _ROUNDING
    return direction if exact else nearest


def in_millimetres(image: Image, units: Sequence[str], where: Path) -> Image:
    """An image whose header states its place in other units of length.

    Args:
        image: as it was read, its numbers taken for millimetres.
        units: of the axes of space; none, or empty ones, stand for millimetres.
        where: the file, for errors.

    Raises:
        ImageError: units that differ from each other, or that are no lengths.
    """
    stated = {unit.strip().casefold() for unit in units if unit.strip()}
    if not stated or stated <= _UNSAID:
        return image
    factors = {MILLIMETRES.get(unit) for unit in stated}
    factor = factors.pop()
    if factors or factor is None:
        raise ImageError(
            "the unit of length in the header is not understood",
            where=where,
            got=", ".join(sorted(stated)),
            expected="one of " + ", ".join(MILLIMETRES),
            remedy="write the header in millimetres",
        )
    if factor == 1.0:
        return image
    place = image.geometry
    spacing, origin = (_vector(np.asarray(values) * factor) for values in (place.spacing, place.origin))
    what = "the header's unit of length is not the millimetre; it is converted"
    return replace(
        image,
        geometry=replace(place, spacing=spacing, origin=origin),
        remarks=(*image.remarks, Remark("unit", what, got=", ".join(sorted(stated)))),
    )


def corners(lengths: Sequence[int]) -> np.ndarray:
    """Indices (8, 3) of the corners of an image; axes that are missing have one voxel."""
    full = [*lengths, 1, 1][:3]
    return np.array(list(product(*((0, length - 1) for length in full))), dtype=float)


def _vector(values: np.ndarray) -> Vector:
    z, y, x = (float(value) for value in values)
    return z, y, x
