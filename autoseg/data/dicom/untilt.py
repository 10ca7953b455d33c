"""The sheared stack of a tilted gantry on an upright grid."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from autoseg.data.dicom.stack import Stack, shear
from autoseg.data.image import Geometry, Image, Remark, Vector


def untilted(image: Image, stack: Stack) -> Image:
    """A sheared image resampled onto the upright grid with the spacing and directions of its slices.

    Each slice is moved within its plane by linear interpolation; the grid is as large as all slices together, and what
    no slice covers gets the image's lowest value.

    Args:
        image: as it is stored, with the geometry of `stack`.
        stack: that it was made from.

    Returns:
        float32 (float64 of float64).
    """
    array, geometry = image.array, image.geometry
    shifts = stack.shifts / geometry.spacing[1:]  # in voxels
    first = np.floor(shifts.min(axis=0) + 1e-6).astype(int)
    extent = np.ceil(shifts.max(axis=0) - 1e-6).astype(int) - first
    rows, columns = (int(size) for size in np.add(array.shape[2:], extent))
    dtype = np.result_type(array.dtype, np.float32) if array.dtype.kind == "f" else np.dtype(np.float32)
    upright = np.full((*array.shape[:2], rows, columns), array.min(), dtype)
    for index, shift in enumerate(shifts - first):
        upright[:, index] = _moved(array[:, index].astype(dtype), shift, (rows, columns), upright[:, index])
    farthest, angle = shear(stack)
    remark = Remark(
        "gantry-tilt",
        "the sheared slices of a tilted gantry are resampled onto an upright grid; what they do not cover gets the "
        "lowest value",
        got=f"{angle:.1f} degrees, {farthest:.1f} mm, {rows} x {columns} pixels of {array.shape[2]} x {array.shape[3]}",
    )
    return replace(image, array=upright, geometry=_grown(geometry, first), remarks=(*image.remarks, remark))


def _moved(plane: np.ndarray, shift: np.ndarray, shape: tuple[int, int], outside: np.ndarray) -> np.ndarray:
    """Planes (C, Y, X) moved by a distance in voxels to a grid of a shape; where they do not reach, `outside` stays."""
    for axis, distance in zip((1, 2), shift, strict=True):
        whole = math.floor(distance + 1e-6)
        part = max(distance - whole, 0.0)
        size = shape[axis - 1]
        moved = np.full((*plane.shape[:axis], size, *plane.shape[axis + 1 :]), np.nan, plane.dtype)
        before = np.concatenate([plane, plane.take([-1], axis)], axis)
        after = np.concatenate([plane.take([0], axis), plane], axis)
        blended = plane
        if part > 1e-6:
            blended = before * (1 - part) + after * part
            # the outermost samples have one neighbour only: they count where they lie within its voxel
            outer = [slice(None)] * 3
            outer[axis] = slice(0, 1) if part > 0.5 else slice(-1, None)
            blended[tuple(outer)] = np.nan
        length = min(blended.shape[axis], size - whole)
        target = [slice(None)] * 3
        target[axis] = slice(whole, whole + length)
        moved[tuple(target)] = blended.take(range(length), axis)
        plane = moved
    return np.where(np.isnan(plane), outside, plane)


def _grown(geometry: Geometry, first: np.ndarray) -> Geometry:
    """The geometry whose first voxel lies some rows and columns (y, x) away, mostly before."""
    direction = np.array(geometry.direction)
    step = direction[:, 1] * first[0] * geometry.spacing[1] + direction[:, 2] * first[1] * geometry.spacing[2]
    z, y, x = (float(value) for value in np.array(geometry.origin) + step)
    origin: Vector = (z, y, x)
    return replace(geometry, origin=origin)
