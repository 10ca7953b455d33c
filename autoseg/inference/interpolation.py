"""Logits on other voxels, linearly interpolated, one row after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from autoseg.inference.rows import LogitRows
from autoseg.preprocessing.resample import axis_matrix

if TYPE_CHECKING:
    from jaxtyping import Float32

_BLOCK = 64
"""Rows of an axis matrix multiplied at once: wide enough for BLAS, narrow enough to skip the zeros."""


def interpolated(
    volume: LogitRows, shape: tuple[int, int, int], apart: int | None, height: int
) -> Iterator[tuple[slice, Float32[Tensor, "channel rows y x"]]]:
    """What a volume holds, interpolated linearly to a shape, by nearest slice along axis `apart`.

    In the plane each row of the volume is interpolated once, and not kept longer than rows of the result need it.

    Args:
        volume: its rows are taken in order.
        shape: (Z, Y, X) of the result.
        apart: an axis along which the nearest slice is taken, or None.
        height: rows that are handed out at once.

    Yields:
        Which rows, and their values (C, rows, Y, X) float32: features where the volume has a readout.
    """
    _, *shape_in = volume.shape
    in_plane = [
        None if shape_in[axis] == shape[axis] else _blocks(shape_in[axis], shape[axis], axis == apart)
        for axis in (1, 2)
    ]
    along = axis_matrix(shape_in[0], shape[0], 0 if apart == 0 else 1)
    plane: dict[int, Tensor] = {}
    for start in range(0, shape[0], height):
        rows = slice(start, min(start + height, shape[0]))
        if shape_in[0] == shape[0]:
            yield rows, _in_plane(volume.features(rows.start, rows.stop), in_plane)
            continue
        used = np.flatnonzero(along[rows].any(axis=0))
        low, high = int(used[0]), int(used[-1]) + 1
        plane = {row: values for row, values in plane.items() if row >= low}
        for row in range(max([low, *(row + 1 for row in plane)]), high):
            plane[row] = _in_plane(volume.features(row, row + 1), in_plane)[:, 0]
        yield rows, torch.stack([_between(along[row], plane) for row in range(rows.start, rows.stop)], dim=1)


def _between(weights: np.ndarray, plane: dict[int, Tensor]) -> Tensor:
    """One row of the result, (C, Y, X), of the one or two that it lies between."""
    used = np.flatnonzero(weights)
    first = plane[int(used[0])]
    return first if len(used) == 1 else torch.lerp(first, plane[int(used[1])], float(weights[used[1]]))


Blocks = list[tuple[slice, slice, Tensor]]
"""Of a matrix: some rows, the columns in which these are not zero, and the weights there."""


def _blocks(length_in: int, length_out: int, nearest: bool) -> Blocks:
    matrix = axis_matrix(length_in, length_out, 0 if nearest else 1)
    blocks = []
    for start in range(0, length_out, _BLOCK):
        rows = slice(start, min(start + _BLOCK, length_out))
        used = np.flatnonzero(matrix[rows].any(axis=0))
        columns = slice(int(used[0]), int(used[-1]) + 1)
        blocks.append((rows, columns, torch.from_numpy(matrix[rows, columns].astype(np.float32))))
    return blocks


def _in_plane(values: Tensor, blocks: list[Blocks | None]) -> Tensor:
    """(C, rows, Y, X) interpolated along X, then along Y."""
    along_y, along_x = blocks
    if along_x is not None:
        flat = values.reshape(-1, values.shape[3])
        wide = flat.new_empty(len(flat), along_x[-1][0].stop)
        for rows, columns, weights in along_x:
            torch.mm(flat[:, columns], weights.T, out=wide[:, rows])
        values = wide.view(*values.shape[:3], -1)
    if along_y is not None:
        high = values.new_empty(*values.shape[:2], along_y[-1][0].stop, values.shape[3])
        for rows, columns, weights in along_y:
            high[:, :, rows] = weights @ values[:, :, columns]
        values = high
    return values
