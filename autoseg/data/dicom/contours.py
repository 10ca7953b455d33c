"""Polygons as voxels of a plane."""

from __future__ import annotations

import numpy as np

_GRAIN = 1e-4
"""Of a voxel: places are rounded to this, so that decimals of a file do not decide on which side of an edge a voxel's
centre lies that is exactly on it."""


def windings(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """How often a polygon's outline winds around each voxel's centre; one direction counts positive.

    It is odd inside by the even-odd rule: where a ray from the centre crosses an odd number of edges. The two sides of
    a keyhole's cut cancel each other. A centre on an upper or left edge is inside and one on a lower or right edge is
    not, so that neighbours that share an edge have each centre once. Source: scan conversion by edge crossings, Foley
    et al., Computer Graphics, 3.6.

    Args:
        polygon: (n, 2) corners in voxel indices (row, column); voxel (0, 0) has its centre at (0, 0). The last corner
            is joined with the first.
        shape: rows and columns of the plane; what lies beyond is cut off.

    Returns:
        (rows, columns) int64.
    """
    rows, columns = shape
    start = np.round(np.asarray(polygon, np.float64) / _GRAIN) * _GRAIN
    stop = np.roll(start, -1, axis=0)
    down = start[:, 0] < stop[:, 0]
    upper, lower = np.where(down[:, None], start, stop), np.where(down[:, None], stop, start)
    first = np.ceil(upper[:, 0] - _GRAIN / 2).clip(0, rows).astype(int)
    behind = np.ceil(lower[:, 0] - _GRAIN / 2).clip(0, rows).astype(int)
    count = (behind - first).clip(0)
    edge = np.repeat(np.arange(len(start)), count)
    if not len(edge):
        return np.zeros(shape, np.int64)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    height = np.maximum(lower[edge, 0] - upper[edge, 0], _GRAIN)
    share = (row - upper[edge, 0]) / height
    at = upper[edge, 1] + share * (lower[edge, 1] - upper[edge, 1])
    column = np.ceil(at - _GRAIN / 2).clip(0, columns).astype(int)
    place = row * (columns + 1) + column
    crossings = np.bincount(place, np.where(down[edge], 1.0, -1.0), minlength=rows * (columns + 1))
    around: np.ndarray = np.cumsum(np.rint(crossings).astype(np.int64).reshape(rows, columns + 1), axis=1)
    return around[:, :columns]
