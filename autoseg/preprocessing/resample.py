"""Resampling on the grid of voxel centres, one small matrix per axis.

A spline interpolation of a separable grid is a matrix product along each axis; prefilter, boundary rule and
interpolation are all in the matrix. The numbers are those of `skimage.transform.resize(mode="edge",
anti_aliasing=False)`, which nnU-Net v2 uses, at a fraction of the time.

Anisotropic images are resampled in the plane only and take the nearest slice through it (Isensee et al.,
nnU-Net, Nature Methods 2021, online methods).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from autoseg.errors import ConfigurationError

ANISOTROPY = 3.0
"""Largest over smallest spacing above which the coarse axis is resampled apart (nnU-Net v2)."""

Shape = tuple[int, int, int]

_PADDING = 12  # samples by which the edges are repeated before the spline prefilter, as scipy does
_BLOCK = 64  # rows of an axis matrix multiplied at once: wide enough for BLAS, narrow enough to skip the zeros
_NEGLIGIBLE = 1e-9  # weights of a cubic spline decay by 0.27 per sample; smaller ones do not reach float32


def resampled_shape(shape: Sequence[int], spacing_from: Sequence[float], spacing_to: Sequence[float]) -> Shape:
    """Voxels per axis that cover the same extent at another spacing (half to even, as `round`), at least one."""
    z, y, x = (max(1, round(old / new * n)) for old, new, n in zip(spacing_from, spacing_to, shape, strict=True))
    return z, y, x


def out_of_plane_axis(spacing_from: Sequence[float], spacing_to: Sequence[float]) -> int | None:
    """The axis to resample apart, by nearest slice, or None for isotropic resampling.

    The source decides; if it is isotropic, the target does. Two equally coarse axes have no plane: None.
    """
    for spacing in (spacing_from, spacing_to):
        if max(spacing) / min(spacing) > ANISOTROPY:
            coarse = [axis for axis, value in enumerate(spacing) if value == max(spacing)]
            return coarse[0] if len(coarse) == 1 else None
    return None


def axis_matrix(length_in: int, length_out: int, order: int) -> np.ndarray:
    """Interpolation along one axis as a matrix, whose product with the samples is the output.

    Sample i of the output lies at `(i + 0.5) * length_in / length_out - 0.5` of the input; beyond the outermost
    centres the edge value is repeated.

    Args:
        order: degree of the spline: 0 (nearest), 1 (linear) or 3 (cubic, with prefilter).

    Returns:
        (length_out, length_in) float64, read-only (it is cached); rows sum to 1.

    Raises:
        ConfigurationError: another order, or a length below 1.
    """
    if order not in (0, 1, 3):
        raise ConfigurationError("unknown order of interpolation", got=order, expected="0, 1 or 3")
    if length_in < 1 or length_out < 1:
        raise ConfigurationError("cannot resample an empty axis", got=(length_in, length_out), expected="at least 1")
    return _axis_matrix(length_in, length_out, order)


def resize(
    array: np.ndarray,
    shape: Sequence[int],
    *,
    spacing_from: Sequence[float],
    spacing_to: Sequence[float],
    order: int = 3,
) -> np.ndarray:
    """Resamples an image (order 3) or logits (order 1) to a shape.

    Args:
        array: (C, Z, Y, X), any real dtype.
        shape: new (Z, Y, X).
        spacing_from, spacing_to: mm per axis before and after; they only decide which axis is resampled apart.
        order: degree of the spline.

    Returns:
        (C, *shape) float32. Cubic overshoot is clipped to the range of the channel (of the slice, where slices
        are resampled apart). An equal shape gives the values unchanged, without a copy if they are float32.
    """
    array = np.asarray(array, dtype=np.float32)
    if array.shape[1:] == tuple(shape):
        return array
    apart = out_of_plane_axis(spacing_from, spacing_to)
    if apart is None:
        return _resize_axes(array, shape, (0, 1, 2), order)
    # slices are independent: take them first where slices are dropped, last where they are repeated
    slices = _nearest_index(array.shape[apart + 1], shape[apart])
    plane = tuple(axis for axis in range(3) if axis != apart)
    if shape[apart] < array.shape[apart + 1]:
        return _resize_axes(array.take(slices, axis=apart + 1), shape, plane, order)
    resized = _resize_axes(array, shape, plane, order)
    return resized if shape[apart] == array.shape[apart + 1] else resized.take(slices, axis=apart + 1)


def _resize_axes(array: np.ndarray, shape: Sequence[int], axes: Sequence[int], order: int) -> np.ndarray:
    """Resamples along the given spatial axes and clips to the values' range over those axes."""
    changed = [axis for axis in axes if array.shape[axis + 1] != shape[axis]]
    if not changed:
        return array
    over = tuple(axis + 1 for axis in axes)
    low, high = array.min(axis=over, keepdims=True), array.max(axis=over, keepdims=True)
    # what shrinks comes first, so that the other axes have less to do
    for axis in sorted(changed, key=lambda axis: shape[axis] / array.shape[axis + 1]):
        array = _multiply(_axis_matrix(array.shape[axis + 1], shape[axis], order), array, axis + 1)
    return np.clip(array, low, high, out=array)


def _multiply(matrix: np.ndarray, array: np.ndarray, axis: int) -> np.ndarray:
    """The matrix times the array along an axis, in blocks of rows that leave out the columns of zeros."""
    length_out = len(matrix)
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    columns = np.ascontiguousarray(array).reshape(-1, array.shape[axis], int(np.prod(after)))
    result = np.empty((len(columns), length_out, columns.shape[2]), dtype=np.float32)
    for start in range(0, length_out, _BLOCK):
        rows = matrix[start : start + _BLOCK]
        used = np.flatnonzero(np.abs(rows).max(axis=0) > _NEGLIGIBLE)
        first, last = used[0], used[-1] + 1
        weights = rows[:, first:last].astype(np.float32)
        if columns.shape[2] == 1:  # the last axis: one product instead of many thin ones
            result[:, start : start + _BLOCK, 0] = columns[:, first:last, 0] @ weights.T
        else:
            np.matmul(weights, columns[:, first:last], out=result[:, start : start + _BLOCK])
    return result.reshape(*before, length_out, *after)


def _centres(length_in: int, length_out: int) -> np.ndarray:
    """Places of the output samples in units of input samples; the arithmetic is scipy's, to the last bit."""
    return (np.arange(length_out) + 0.5) * (length_in / length_out) - 0.5


def _nearest_index(length_in: int, length_out: int) -> np.ndarray:
    inside = np.clip(_centres(length_in, length_out), 0, length_in - 1)
    return np.floor(inside + 0.5).astype(np.intp)


@lru_cache(maxsize=64)
def _axis_matrix(length_in: int, length_out: int, order: int) -> np.ndarray:
    rows = np.arange(length_out)
    matrix = np.zeros((length_out, length_in))
    if order == 0:
        matrix[rows, _nearest_index(length_in, length_out)] = 1
    elif order == 1:
        low, high, fraction = _linear_neighbours(length_in, length_out)
        matrix[rows, low] += 1 - fraction
        matrix[rows, high] += fraction
    else:
        coefficients = _spline_coefficients(length_in)
        centres = _centres(length_in, length_out) + _PADDING
        first = np.floor(centres).astype(np.intp)
        for offset, weight in enumerate(_cubic_weights(centres - first)):
            matrix += weight[:, None] * coefficients[first + offset - 1]
    matrix.flags.writeable = False
    return matrix


def _spline_coefficients(length: int) -> np.ndarray:
    """(length + 2 * _PADDING, length): samples -> coefficients of the cubic B-spline through them (Unser, 1999).

    The spline takes the samples' values at the knots, where its basis is 1/6, 4/6, 1/6; the edges are repeated, and
    mirrored beyond that.
    """
    padded = length + 2 * _PADDING
    basis = (4 * np.eye(padded) + np.eye(padded, k=1) + np.eye(padded, k=-1)) / 6
    basis[0, 0] = basis[-1, -1] = 5 / 6
    edges = np.pad(np.eye(length), ((_PADDING, _PADDING), (0, 0)), mode="edge")
    return np.linalg.solve(basis, edges)


def _cubic_weights(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values of the cubic B-spline at distances 1 + t, t, 1 - t and 2 - t of its centre, 0 <= t < 1."""
    s = 1 - t
    return s**3 / 6, 2 / 3 - t**2 * (2 - t) / 2, 2 / 3 - s**2 * (2 - s) / 2, t**3 / 6


def _linear_neighbours(length_in: int, length_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Index below, index above and weight of the one above, an output sample; beyond the edges both are the edge."""
    centres = _centres(length_in, length_out)
    low = np.floor(centres).astype(np.intp)
    last = length_in - 1
    return np.clip(low, 0, last), np.clip(low + 1, 0, last), centres - low
