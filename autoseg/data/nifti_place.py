"""Where a NIfTI header says that its voxels lie, as `Geometry`, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.axes import corners, right_angled
from autoseg.data.image import PLANE_SPACING, Geometry, NiftiPlace, Remark, Vector
from autoseg.errors import ImageError

_MILLIMETRES = {1: 1000.0, 3: 0.001}
"""Codes of units of space (nifti1.h) other than mm: metre, micrometre."""

_MILLIMETRE = 2
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_DIFFERENCE = 0.5  # voxels between sform and qform that are told
_UNIT = 1.001  # squared length of a quaternion, with rounding
_ROUNDING = 1e-4  # relative difference of spacing and sform that is rounding of single precision


def place_of(header: Any) -> NiftiPlace:
    """What a header (`nifti_header`) says, as it stands there."""

    def numbers(name: str) -> tuple[float, ...]:
        return tuple(header[name].ravel().tolist())

    return NiftiPlace(
        pixdim=numbers("pixdim"),
        qform=(*numbers("quatern"), *numbers("qoffset")),
        sform=numbers("srow"),
        qform_code=int(header["qform_code"]),
        sform_code=int(header["sform_code"]),
        units=int(header["xyzt_units"]),
    )


def geometry_of(place: NiftiPlace, shape: Sequence[int], where: Path) -> tuple[Geometry, tuple[Remark, ...]]:
    """The geometry that a header states, and what had to be decided.

    Args:
        place: of the header.
        shape: voxels along (x, y) or (x, y, z).
        where: the file, for errors.

    Raises:
        ImageError: axes that are sheared, or a place that is no number.
    """
    try:
        return _stated(place, tuple(shape))
    except ImageError as error:
        raise ImageError(
            error.subject, where=where, got=error.got, expected=error.expected, remedy=error.remedy
        ) from None


@lru_cache(maxsize=256)
def _stated(place: NiftiPlace, shape: tuple[int, ...]) -> tuple[Geometry, tuple[Remark, ...]]:
    """As `geometry_of`; the images of a data set, and their labels, often lie alike."""
    zooms = np.array([abs(value) if value else 1.0 for value in place.pixdim[1:4]])
    affine, remarks = _affine(place, zooms, shape)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and np.isfinite(spacing).all()):
        raise ImageError("the place of the image is no number", remedy="mend the header")
    direction = right_angled(affine[:3, :3] / spacing, spacing, shape, None)
    if np.allclose(spacing, zooms, rtol=_ROUNDING, atol=0):
        spacing = zooms
    else:
        what = "voxel sizes and sform of the header differ; the sform is used"
        remarks.append(Remark("spacing-of-sform", what, got=f"{_text(zooms)} and {_text(spacing)}"))
    scale = _MILLIMETRES.get(place.units & 7, 1.0)
    if scale != 1.0:
        what = "the header's unit of length is not the millimetre; it is converted"
        remarks.append(Remark("unit", what, got="metre" if scale > 1 else "micrometre"))
    return _geometry(spacing * scale, affine[:3, 3] * scale, direction, len(shape), place), tuple(remarks)


def _affine(place: NiftiPlace, zooms: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, list[Remark]]:
    """The transform (4, 4) from voxels to the world that counts: sform, qform, or voxel sizes alone."""
    sform = np.vstack([np.reshape(place.sform, (3, 4)), [0, 0, 0, 1]]) if place.sform_code > 0 else None
    qform = _qform(place, zooms) if place.qform_code > 0 else None
    remarks: list[Remark] = []
    if sform is not None and not _is_invertible(sform):
        what = "the sform of the header is no transform; the qform or the voxel sizes are used"
        remarks, sform = [Remark("broken-sform", what, remedy="mend the header")], None
    if qform is not None and not (_is_invertible(qform) and sum(q * q for q in place.qform[:3]) <= _UNIT):
        what = "the qform of the header is no rotation; the sform or the voxel sizes are used"
        remarks, qform = [*remarks, Remark("broken-qform", what, remedy="mend the header")], None
    if sform is not None:
        return sform, remarks + ([] if qform is None else _compare(sform, qform, shape))
    if qform is not None:
        return qform, remarks
    if len(shape) > 2:
        what = "the header does not say where the image lies; axes to the left, back and top are assumed, as ITK does"
        remarks.append(Remark("no-place", what, remedy="set qform or sform if the place is known"))
    return _TO_LPS @ np.diag([*zooms, 1.0]), remarks


def write_place(header: Any, geometry: Geometry, shape: Sequence[int]) -> None:
    """Sets the place in a header of nibabel: as it was read if the geometry is still that one, else anew.

    Args:
        header: a record of `nifti_header`; gets pixdim, both transforms, their codes and the units.
        geometry: where the voxels lie.
        shape: (Z, Y, X).
    """
    stored = geometry.stored
    axes = shape[::-1][: geometry.dimension]
    if stored is not None and geometry_of(stored, axes, Path())[0] == geometry:
        header["pixdim"][:4] = stored.pixdim[:4]
        header["quatern"], header["qoffset"] = stored.qform[:3], stored.qform[3:]
        header["srow"] = np.reshape(stored.sform, (3, 4))
        header["qform_code"], header["sform_code"] = stored.qform_code, stored.sform_code
        header["xyzt_units"] = stored.units
        return
    directions = _TO_LPS[:3, :3] @ np.asarray(geometry.direction)[::-1, ::-1]
    spacing = np.array(geometry.spacing[::-1])
    if geometry.dimension == 2:
        spacing[2] = 1.0
    origin = _TO_LPS[:3, :3] @ geometry.origin[::-1]
    side = -1.0 if np.linalg.det(directions) < 0 else 1.0
    header["pixdim"][:4] = side, *spacing
    header["quatern"], header["qoffset"] = _quaternion(directions * [1.0, 1.0, side]), origin
    header["srow"] = np.column_stack([directions * spacing, origin])
    header["qform_code"] = header["sform_code"] = 1
    header["xyzt_units"] = _MILLIMETRE


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """b, c, d of the unit quaternion of a rotation (3, 3) whose a is not negative."""
    from scipy.spatial.transform import Rotation

    b, c, d, a = Rotation.from_matrix(rotation).as_quat()
    return np.array([b, c, d]) * (-1.0 if a < 0 else 1.0)


def _geometry(
    spacing: np.ndarray, origin: np.ndarray, direction: np.ndarray, dimension: int, place: NiftiPlace
) -> Geometry:
    """From NIfTI's (x, y, z) towards right, front and top to (z, y, x) towards left, back and top."""
    lps = _TO_LPS[:3, :3]
    turned = (lps @ direction)[::-1, ::-1]
    spacing, origin = spacing[::-1].copy(), (lps @ origin)[::-1].copy()
    if dimension == 2:
        spacing[0], origin[0] = PLANE_SPACING, 0.0
        plane = turned[1:, 1:]
        turned = np.eye(3)
        if np.allclose(plane @ plane.T, np.eye(2), atol=_ROUNDING):
            turned[1:, 1:] = plane
    rows = [_vector(row + 0.0) for row in turned]  # + 0.0: no negative zeros
    return Geometry(_vector(spacing), _vector(origin + 0.0), (rows[0], rows[1], rows[2]), dimension, place)


def _qform(place: NiftiPlace, zooms: np.ndarray) -> np.ndarray:
    """The transform of a quaternion, offset and voxel sizes (nifti1.h, method 2)."""
    b, c, d = place.qform[:3]
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    length = np.sqrt(a * a + b * b + c * c + d * d) or 1.0
    a, b, c, d = a / length, b / length, c / length, d / length
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * zooms
    if place.pixdim[0] < 0:
        affine[:3, 2] *= -1
    affine[:3, 3] = place.qform[3:6]
    return affine


def _compare(sform: np.ndarray, qform: np.ndarray, shape: Sequence[int]) -> list[Remark]:
    voxel = float(np.linalg.norm(sform[:3, :3], axis=0).min())
    ends = np.hstack([corners(shape), np.ones((8, 1))])
    distance = float(np.linalg.norm(ends @ (sform - qform)[:3].T, axis=1).max())
    if distance <= _DIFFERENCE * voxel:
        return []
    what = "sform and qform of the header place the image differently; the sform is used"
    return [Remark("sform-and-qform", what, got=f"{distance:.3g} mm apart", remedy="delete the one that is wrong")]


def _is_invertible(affine: np.ndarray) -> bool:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not lengths.all():
        return False
    return bool(abs(np.linalg.det(affine[:3, :3] / lengths)) > 1e-3)


def _text(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ") mm"


def _vector(values: np.ndarray) -> Vector:
    first, second, third = (float(value) for value in values)
    return first, second, third
