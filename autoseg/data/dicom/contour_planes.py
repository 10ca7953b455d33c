"""To which slices of an image the contours of a structure belong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.image import Geometry, Image, Remark
from autoseg.errors import ImageError

_FLAT = 0.1  # of a voxel: how far the points of a contour may lie from its plane
_ONE_PLANE = 0.05  # of the distance of slices: contours nearer to each other than this are of one plane
_BETWEEN = 0.1  # of the distance of slices: contours farther from their slice than this are told
_HALF = 0.5 + 1e-3  # of a voxel, and what rounding makes


@dataclass(frozen=True)
class ContourPlanes:
    """The contours of one structure by slice.

    Attributes:
        axis: array axis that is perpendicular to the slices.
        polygons: slice -> its polygons, (n, 2) corners in indices of the other two axes.
        box: start and stop of the voxels that may be inside: along `axis`, then along the other two.
        remarks: what is to be said of them.
    """

    axis: int
    polygons: Mapping[int, Sequence[np.ndarray]]
    box: tuple[tuple[int, int], ...]
    remarks: tuple[Remark, ...]


def contour_planes(name: str, contours: Sequence[np.ndarray], image: Image, path: Path) -> ContourPlanes:
    """Sorts the closed contours of a structure into the slices of an image.

    Args:
        name: of the structure.
        contours: (n, 3) points in the patient's mm (x, y, z), one contour at least.
        image: whose slices they are.
        path: of the file, for errors.

    Raises:
        ImageError: contours that are not parallel to the slices, or that lie outside the image.
    """
    voxels = [_to_voxels(points, image.geometry) for points in contours]
    axis = next((axis for axis in range(3) if all(np.ptp(one[:, axis]) <= _FLAT for one in voxels)), None)
    if axis is None:
        tilt = max(float(np.ptp(one[:, 0])) for one in voxels)
        raise _misplaced(name, "are not parallel to the image's slices", f"one reaches over {tilt:.2f} slices", path)
    levels = np.asarray([one[:, axis].mean() for one in voxels])
    count = image.shape[axis]
    if levels.min() < -_HALF or levels.max() > count - 1 + _HALF:
        got = f"slices {levels.min():.1f} to {levels.max():.1f} of 0 to {count - 1}"
        raise _misplaced(name, "lie above or below the image", got, path)
    plane = [other for other in range(3) if other != axis]
    sides = [image.shape[other] for other in plane]
    corners = np.concatenate([one[:, plane] for one in voxels])
    if (corners.max(axis=0) < -_HALF).any() or (corners.min(axis=0) > np.subtract(sides, 1) + _HALF).any():
        raise _misplaced(name, "lie beside the image", f"voxels {corners.min(axis=0)} to {corners.max(axis=0)}", path)
    nearest = np.floor(levels + 0.5).astype(int).clip(0, count - 1)
    chosen, left_out = _nearest_planes(levels, nearest)
    polygons: dict[int, list[np.ndarray]] = {}
    for number in chosen:
        polygons.setdefault(int(nearest[number]), []).append(voxels[number][:, plane])
    spans = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)) + 1
    box = [(int(low), int(high)) for low, high in zip(*(np.clip(span, 0, sides) for span in spans), strict=True)]
    remarks = _remarks(name, sorted(polygons), float(np.abs(levels - nearest).max()), left_out)
    if (corners.min(axis=0) < -_HALF).any() or (corners.max(axis=0) > np.subtract(sides, 1) + _HALF).any():
        remarks.append(Remark("contours-cut", "contours reach beyond the image and are cut off at its edge", got=name))
    return ContourPlanes(axis, polygons, ((min(polygons), max(polygons) + 1), *box), tuple(remarks))


def _to_voxels(points: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Points in mm (x, y, z) as voxel indices (z, y, x)."""
    matrix = np.asarray(geometry.direction) * geometry.spacing
    indices: np.ndarray = np.linalg.solve(matrix, (points[:, ::-1] - geometry.origin).T).T
    return indices


def _nearest_planes(levels: np.ndarray, nearest: np.ndarray) -> tuple[list[int], int]:
    """The contours of the plane that is nearest to the centre of each slice, and how many others there are."""
    chosen = []
    for index in np.unique(nearest):
        own = np.flatnonzero(nearest == index)
        level = levels[own[np.abs(levels[own] - index).argmin()]]
        chosen += own[np.abs(levels[own] - level) <= _ONE_PLANE].tolist()
    return sorted(chosen), len(levels) - len(chosen)


def _remarks(name: str, slices: Sequence[int], distance: float, left_out: int) -> list[Remark]:
    remarks = []
    if distance > _BETWEEN:
        what = "contours lie between slices of the image; they count for the nearest one"
        got = f"{name}, up to {distance:.2f} of the distance of slices away"
        remarks.append(Remark("contours-between-slices", what, got, "give the image that they were drawn on"))
    if left_out:
        what = "several planes of contours lie in one slice of the image; the one nearest to its centre is taken"
        got = f"{name}, {left_out} contours left out"
        remarks.append(Remark("dense-contours", what, got, "give the image that they were drawn on"))
    reach = slices[-1] - slices[0] + 1
    if reach > len(slices):
        what = "slices between the contours of a structure have none; they stay empty"
        got = f"{name}, {reach - len(slices)} of {reach} slices"
        remarks.append(Remark("sparse-contours", what, got, "if they should be filled, interpolate the contours"))
    return remarks


def _misplaced(name: str, what: str, got: str, path: Path) -> ImageError:
    return ImageError(
        f"contours {what}",
        where=path,
        got=f"{name}: {got}",
        expected="contours in the slices of the image that they label",
        remedy="give the image that they were drawn on, or convert the structure set to NIfTI",
    )
