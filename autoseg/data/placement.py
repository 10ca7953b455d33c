"""Images that are to lie on each other voxel by voxel: what their headers say of it, and turning one to the other.

Headers are compared where they place the corners of an image. Axes that are exchanged or reversed are the same place;
half a voxel is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from autoseg.data.axes import corners
from autoseg.data.image import Geometry, Image, Remark
from autoseg.data.orientation import UNTURNED, Orientation
from autoseg.errors import ImageError

SPACING_TOLERANCE = 1e-3
"""Relative difference; headers hold single precision and are often rounded to four digits."""

LARGEST_OFFSET = 0.5
"""Voxels that a corner may lie beside where it should."""


def laid_on(moving: Image, fixed: Image, *, where: Path, trust: bool = False, crops: bool = False) -> Image:
    """An image on the voxels of another, whose geometry it gets.

    Args:
        moving: array (C, Z, Y, X), stored with any axes.
        fixed: the image that it shall lie on.
        where: the file of `moving`, for errors.
        trust: lay arrays of equal shape on each other by their indices where the headers place them differently.
        crops: `moving` may cover a part of `fixed` on the same lattice; 0 elsewhere.

    Returns:
        (C, *fixed.shape), with remarks on what was done.

    Raises:
        ImageError: another shape, or another place; labels beyond the image.
    """
    if moving.geometry.dimension != fixed.geometry.dimension:
        return laid_by_index(moving, fixed, where=where)
    if moving.geometry == fixed.geometry and moving.shape == fixed.shape:
        return replace(moving, geometry=fixed.geometry)
    turn, first, offset = _relation(moving, fixed)
    turned = replace(moving, array=turn.turn(moving.array), geometry=fixed.geometry)
    shift = np.rint(first).astype(int) if crops else np.zeros(3, int)
    shift[np.equal(turned.shape, fixed.shape)] = 0  # along an axis of the image's length nothing is cut off
    if not crops and turned.shape != fixed.shape:
        raise _other_shape(moving, fixed, where)
    beside = _largest_offset(offset, first - shift, turned.shape)
    if beside > LARGEST_OFFSET or not same_spacing(turn.turn_geometry(moving.geometry, moving.shape), fixed.geometry):
        if trust and moving.shape == fixed.shape:
            what = "the header places it differently from its image; array indices are trusted"
            return _with_remark(
                laid_by_index(moving, fixed, where=where), "trusted-arrays", what, f"{beside:.3g} voxels beside"
            )
        raise _other_place(moving.geometry, fixed.geometry, beside, where)
    if turn.changes:
        turned = replace(turned, array=np.ascontiguousarray(turned.array))
        what = "it is stored with other axes than its image; it is turned to the image's"
        turned = _with_remark(turned, "other-axes", what)
    if shift.any() or turned.shape != fixed.shape:
        turned = replace(turned, array=_embedded(turned.array, shift, fixed.shape, where))
    return turned


def same_spacing(first: Geometry, second: Geometry) -> bool:
    """Whether two spacings agree within `SPACING_TOLERANCE`."""
    return bool(np.allclose(first.spacing, second.spacing, rtol=SPACING_TOLERANCE, atol=0))


def turned_to(moving: Image, fixed: Image) -> tuple[Image, float]:
    """An image with its axes exchanged and reversed as those of another are, and how far it then lies beside it.

    Returns:
        The image, and the largest distance of a corner from its place in `fixed`, in voxels of `fixed`; infinite, with
        the image as it is, where the axes run beside each other or one is a plane and the other a volume.
    """
    if moving.geometry.dimension != fixed.geometry.dimension:
        return moving, float("inf")
    if moving.geometry == fixed.geometry:
        return moving, 0.0
    turn, first, offset = _relation(moving, fixed)
    turned = turn.turn_image(moving)
    return turned, _largest_offset(offset, first, turned.shape)


def _relation(moving: Image, fixed: Image) -> tuple[Orientation, np.ndarray, np.ndarray | None]:
    """How `moving` is turned to the axes of `fixed`, and where in it its voxels then lie.

    Returns:
        The turn; the index in `fixed` of the turned image's first voxel (3,); and the matrix (3, 3) by which steps in
        the turned image differ from those in `fixed`, None if the axes run beside each other.
    """
    to_index = np.linalg.inv(_matrix(fixed.geometry))
    steps = to_index @ _matrix(moving.geometry)
    start = to_index @ np.subtract(moving.geometry.origin, fixed.geometry.origin)
    signs = np.sign(np.where(np.abs(steps) == np.abs(steps).max(axis=0), steps, 0))
    if not np.array_equal(np.abs(signs).sum(axis=1), np.ones(3)):
        return UNTURNED, start, None
    z, y, x = (int(axis) for axis in np.abs(signs).argmax(axis=1))
    back_z, back_y, back_x = (bool(signs[row, axis] < 0) for row, axis in enumerate((z, y, x)))
    turn = Orientation((z, y, x), (back_z, back_y, back_x))
    for axis, back in zip(turn.order, turn.reversed, strict=True):
        if back:
            start = start + steps[:, axis] * (moving.shape[axis] - 1)
    turned = steps[:, list(turn.order)] * np.where(turn.reversed, -1.0, 1.0)
    return turn, start, turned - np.eye(3)


def _matrix(geometry: Geometry) -> np.ndarray:
    matrix: np.ndarray = np.asarray(geometry.direction) * np.asarray(geometry.spacing)
    return matrix


def _largest_offset(offset: np.ndarray | None, first: np.ndarray, shape: Sequence[int]) -> float:
    if offset is None:
        return float("inf")
    return float(np.abs(corners(shape) @ offset.T + first).max())


def laid_by_index(moving: Image, fixed: Image, *, where: Path) -> Image:
    """An image of the same shape on the voxels of another, whatever its header says.

    Raises:
        ImageError: another shape.
    """
    if moving.shape != fixed.shape:
        raise _other_shape(moving, fixed, where)
    return replace(moving, geometry=fixed.geometry)


def _embedded(array: np.ndarray, shift: np.ndarray, shape: Sequence[int], where: Path) -> np.ndarray:
    """(C, z, y, x) with its first voxel at index `shift` of an array (C, *shape) of zeros."""
    whole = np.zeros((len(array), *shape), array.dtype)
    into, out_of = [slice(None)], [slice(None)]
    for first, length, room in zip(shift.tolist(), array.shape[1:], shape, strict=True):
        start, stop = max(first, 0), min(first + length, room)
        into.append(slice(start, max(stop, start)))
        out_of.append(slice(start - first, max(stop, start) - first))
    inside = array[tuple(out_of)]
    beyond = int(np.count_nonzero(array)) - int(np.count_nonzero(inside))
    if beyond:
        raise ImageError(
            "labels lie beyond the image",
            where=where,
            got=f"{beyond} labelled voxels outside",
            expected="labels of this image",
            remedy="check that the labels belong to the image",
        )
    whole[tuple(into)] = inside
    return whole


def _with_remark(image: Image, code: str, what: str, got: str | None = None) -> Image:
    return replace(image, remarks=(*image.remarks, Remark(code, what, got=got)))


def _other_shape(moving: Image, fixed: Image, where: Path) -> ImageError:
    return ImageError(
        "the shape differs from the image's",
        where=where,
        got=f"{_lengths(moving.shape)} (z, y, x)",
        expected=f"{_lengths(fixed.shape)} (z, y, x)",
        remedy="resample to one grid",
    )


def _other_place(moving: Geometry, fixed: Geometry, beside: float, where: Path) -> ImageError:
    return ImageError(
        "the header places it elsewhere than its image",
        where=where,
        got=f"a corner {beside:.3g} voxels beside the image's" if np.isfinite(beside) else "axes beside the image's",
        expected=f"the same place within {LARGEST_OFFSET:g} voxels",
        remedy=f"correct the header ({_difference(moving, fixed)}), or give --trust-arrays if the arrays correspond",
    )


def _difference(moving: Geometry, fixed: Geometry) -> str:
    """The first of spacing, origin and direction that differs, in words."""
    for name in ("spacing", "origin"):
        one, other = getattr(moving, name), getattr(fixed, name)
        if not np.allclose(one, other, rtol=1e-3, atol=1e-3 * min(fixed.spacing)):
            return f"{name} {_numbers(one)} mm, the image's {_numbers(other)} mm"
    return "the directions of its axes differ"


def _lengths(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape)


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
