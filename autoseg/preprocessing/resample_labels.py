"""Resampling of label arrays: linear votes of the labels around a place, the strongest label wins.

Most voxels have one label all around, which needs no arithmetic. The votes are summed only at the boundaries
between labels, where they equal, bit for bit, those of a linear `skimage.transform.resize` of each label's
indicator (what nnU-Net v2 and batchgenerators do for every label over the whole array).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from autoseg.preprocessing.resample import _linear_neighbours, _nearest_index, out_of_plane_axis

_CHUNK = 1 << 17  # boundary voxels voted on at once (a few tens of megabytes)


def resize_labels(
    labels: np.ndarray,
    shape: Sequence[int],
    *,
    spacing_from: Sequence[float],
    spacing_to: Sequence[float],
) -> np.ndarray:
    """Resamples labels to a shape; no value appears that was not there.

    A tie goes to the nearest voxel's label if it is among the winners, else to the smallest label.

    Args:
        labels: (Z, Y, X) integers.
        shape: new (Z, Y, X).
        spacing_from, spacing_to: mm per axis before and after; they only decide which axis is resampled apart
            (by nearest slice).

    Returns:
        (*shape) in the dtype of `labels`; `labels` itself where the shape is equal.
    """
    if labels.shape == tuple(shape):
        return labels
    apart = out_of_plane_axis(spacing_from, spacing_to)
    if apart is None:
        return _vote(labels, shape, (0, 1, 2))
    plane = tuple(axis for axis in range(3) if axis != apart)
    slices = _nearest_index(labels.shape[apart], shape[apart])
    if shape[apart] < labels.shape[apart]:
        return _vote(labels.take(slices, axis=apart), shape, plane)
    return _vote(labels, shape, plane).take(slices, axis=apart)


def _vote(labels: np.ndarray, shape: Sequence[int], axes: Sequence[int]) -> np.ndarray:
    """Linear votes along the given axes; the others keep their length."""
    axes = [axis for axis in axes if labels.shape[axis] != shape[axis]]
    neighbours = {axis: _linear_neighbours(labels.shape[axis], shape[axis]) for axis in axes}
    smallest = largest = labels
    for axis, (low, high, _) in neighbours.items():
        smallest = np.minimum(smallest.take(low, axis), smallest.take(high, axis))
        largest = np.maximum(largest.take(low, axis), largest.take(high, axis))
    result = smallest if axes else labels
    boundary = np.flatnonzero((smallest != largest).ravel())
    if not boundary.size:
        return result
    result = np.ascontiguousarray(result)
    nearest = {axis: _nearest_index(labels.shape[axis], shape[axis]) for axis in axes}
    for start in range(0, boundary.size, _CHUNK):
        part = boundary[start : start + _CHUNK]
        points = np.unravel_index(part, result.shape)
        result.ravel()[part] = _winners(labels, points, neighbours, nearest)
    return result


def _winners(
    labels: np.ndarray,
    points: tuple[np.ndarray, ...],
    neighbours: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]],
    nearest: dict[int, np.ndarray],
) -> np.ndarray:
    """The winning label at each of N output voxels."""
    corners, weights = [], []
    for side in product((0, 1), repeat=len(neighbours)):  # last axis fastest, the order in which scipy sums
        index, weight = list(points), np.ones(len(points[0]))
        for bit, (axis, (low, high, fraction)) in zip(side, neighbours.items(), strict=True):
            below = 1.0 - fraction
            index[axis] = (high if bit else low)[points[axis]]
            # 1 - (1 - t) is not t in floating point; scipy's weights sum to 1
            weight = weight * ((1.0 - below) if bit else below)[points[axis]]
        corners.append(labels[tuple(index)])
        weights.append(weight)
    best = np.zeros(len(points[0]))
    winner = corners[0].copy()
    present = np.unique(np.stack(corners))
    # few labels stand for election themselves; of many, only those in the corners of each voxel
    for candidate in present if len(present) < len(corners) else corners:
        votes = _votes(candidate, corners, weights)
        replace = (votes > best) | ((votes == best) & (candidate < winner))
        winner = np.where(replace, candidate, winner)
        best = np.maximum(best, votes)
    index = list(points)
    for axis, near in nearest.items():
        index[axis] = near[points[axis]]
    closest = labels[tuple(index)]
    return np.where(_votes(closest, corners, weights) == best, closest, winner)


def _votes(candidate: np.ndarray, corners: list[np.ndarray], weights: list[np.ndarray]) -> np.ndarray:
    """Summed weight of the corners that hold the candidate: one label for all places, or one per place."""
    total = np.zeros(len(weights[0]))
    for corner, weight in zip(corners, weights, strict=True):
        total += weight * (corner == candidate)
    return np.minimum(total, 1.0)  # skimage clips to the indicator's range
