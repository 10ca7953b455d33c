"""What the contours of one structure in one plane hold together: islands, holes, doubles, and such that cross."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from autoseg.data.dicom.contours import windings

_SAME_AREA = 0.95  # of two outlines that hold the same voxels: nearer to each other they are one, drawn twice


@dataclass(frozen=True)
class FilledPlane:
    """The voxels inside the contours of a plane, and how many contours are odd.

    Attributes:
        inside: (rows, columns) bool.
        doubled: contours that are there before, and count once.
        united: contours that cross others, with which they are united.
        tangled: contours that cross themselves or wind around something several times.
    """

    inside: np.ndarray
    doubled: int = 0
    united: int = 0
    tangled: int = 0


@dataclass(frozen=True)
class _Island:
    """A contour's voxels in its own box."""

    polygon: np.ndarray
    top: int
    left: int
    mask: np.ndarray
    tangled: bool

    @property
    def box(self) -> tuple[slice, slice]:
        rows, columns = self.mask.shape
        return slice(self.top, self.top + rows), slice(self.left, self.left + columns)


def fill(polygons: Sequence[np.ndarray], shape: tuple[int, int], *, exclusive: bool = False) -> FilledPlane:
    """The voxels whose centres lie inside the contours of a structure in a plane.

    A contour in another is a hole, one in that hole is inside again (even-odd rule). Contours that overlap without one
    lying in the other are no holes: they are united. The same contour twice counts once.

    Args:
        polygons: each (n, 2) corners in voxel indices (row, column), as in `windings`.
        shape: rows and columns of the plane; what lies beyond is cut off.
        exclusive: where contours cross, what both hold is outside, as the file says (CLOSEDPLANAR_XOR).
    """
    islands = [_island(polygon, shape) for polygon in polygons]
    groups = list(range(len(islands)))
    same: set[int] = set()
    crossing: set[int] = set()
    for one, other in combinations(range(len(islands)), 2):
        relation = _relation(islands[one], islands[other])
        if relation == "same":
            same.add(other)
        elif relation == "crossing" and not exclusive:
            crossing |= {one, other}
        else:
            continue
        old, new = groups[other], groups[one]
        groups = [new if group == old else group for group in groups]
    inside = np.zeros(shape, bool)
    for group in dict.fromkeys(groups):
        members = [island for island, own in zip(islands, groups, strict=True) if own == group]
        if len(members) == 1:
            inside[members[0].box] ^= members[0].mask
            continue
        united = np.zeros(shape, bool)
        for island in members:
            united[island.box] |= island.mask
        inside ^= united
    tangled = sum(island.tangled for island in islands)
    return FilledPlane(inside, len(same), len(crossing), tangled)


def _island(polygon: np.ndarray, shape: tuple[int, int]) -> _Island:
    low = np.floor(polygon.min(axis=0)).clip(0, shape).astype(int)
    high = (np.ceil(polygon.max(axis=0)) + 1).clip(low, shape).astype(int)
    around = windings(polygon - low, (int(high[0] - low[0]), int(high[1] - low[1])))
    least, most = (int(around.min()), int(around.max())) if around.size else (0, 0)
    return _Island(polygon, int(low[0]), int(low[1]), (around & 1).astype(bool), most - least > 1)


def _relation(one: _Island, other: _Island) -> str:
    """Whether they are "apart" (or one lies in the other), the "same", or "crossing": parts of both lie outside."""
    top, bottom = max(one.box[0].start, other.box[0].start), min(one.box[0].stop, other.box[0].stop)
    left, right = max(one.box[1].start, other.box[1].start), min(one.box[1].stop, other.box[1].stop)
    if top >= bottom or left >= right:
        return "apart"
    parts = [
        island.mask[top - island.top : bottom - island.top, left - island.left : right - island.left]
        for island in (one, other)
    ]
    common = int((parts[0] & parts[1]).sum())
    alone = int(one.mask.sum()) - common, int(other.mask.sum()) - common
    if not common or (min(alone) == 0 and max(alone) > 0):
        return "apart"
    if max(alone) > 0:
        return "crossing"
    areas = sorted((_area(one.polygon), _area(other.polygon)))
    return "same" if areas[0] >= _SAME_AREA * areas[1] else "apart"


def _area(polygon: np.ndarray) -> float:
    row, column = (polygon - polygon[0]).T
    return abs(float(row @ np.roll(column, -1) - column @ np.roll(row, -1))) / 2
