"""Sampling an image and its labels on a rotated and scaled grid, both from one set of coordinates.

The grid is walked in slabs that fit the cache. For each voxel the lower corner of its cell and the position inside
it are worked out once; the image is interpolated linearly from the cell's corners, the labels are those of `cells`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from autoseg.batches.augment.label_interpolation import LabelMap

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Int16

_SLAB = 1 << 16  # voxels worked on at a time; measured: less costs calls, more costs cache


@dataclass(frozen=True)
class _Slab:
    """Where a run of output voxels takes its values from."""

    voxels: slice  # of the flattened output
    corner: torch.Tensor  # (n,) int32 flat index of the cell's lower corner
    weights: tuple[torch.Tensor, ...]  # an axis, (n,) float32 position inside the cell in [0, 1]


def sample_affine(
    image: Float32[torch.Tensor, " channel *source"],
    labels: Int16[torch.Tensor, " label *source"],
    matrix: Float[np.ndarray, "axis axis"],
    centre: tuple[float, ...],
    shape: tuple[int, ...],
    *,
    clamp: bool,
) -> tuple[Float32[torch.Tensor, " channel *shape"], Int16[torch.Tensor, " label *shape"]]:
    """Image and labels at `centre + matrix @ (p - middle)` for every voxel p of the output.

    Args:
        image: float32 (C, *source), contiguous; source has 2 or 3 axes of at least 2 voxels.
        labels: int16 (L, *source), contiguous.
        matrix: (d, d) from output to source offsets, in voxels.
        centre: source position (voxel centres at integers) of the output's middle, (shape - 1) / 2.
        shape: spatial shape of the output.
        clamp: whether places may lie outside the source; those take the value of its border.

    Returns:
        float32 (C, *shape) and int16 (L, *shape).
    """
    source = tuple(image.shape[1:])
    out_image = image.new_empty((len(image), prod(shape)))
    out_labels = labels.new_empty((len(labels), prod(shape)))
    corners = _corner_offsets(source)
    # For each channel and corner the channel from that corner on, so that one index serves all corners.
    channels = [[channel[offset:] for offset in corners] for channel in image.flatten(1)]
    label_map = LabelMap(labels, corners, prod(shape))
    for slab in _slabs(source, matrix, centre, shape, clamp):
        for shifted, out in zip(channels, out_image[:, slab.voxels], strict=True):
            _interpolate(shifted, slab, out)
        label_map.look_up(slab.corner, slab.weights, out_labels, slab.voxels.start)
    label_map.finish(out_labels)
    return out_image.view(-1, *shape), out_labels.view(-1, *shape)


def _slabs(
    source: tuple[int, ...], matrix: np.ndarray, centre: tuple[float, ...], shape: tuple[int, ...], clamp: bool
) -> Iterator[_Slab]:
    per_layer = prod(shape[1:])
    layers = min(shape[0], max(1, _SLAB // per_layer))
    lead, *others = _terms(matrix, centre, shape)
    plane = reduce(torch.add, others).unsqueeze(1)  # (d, 1, *shape[1:])
    strides = [prod(source[axis + 1 :]) for axis in range(len(source))]
    last = torch.tensor(source, dtype=torch.int32)[:, None] - 1
    for first in range(0, shape[0], layers):
        points = (lead[:, first : first + layers] + plane).view(len(shape), -1)
        if clamp:
            torch.minimum(points.clamp_(min=0), last.float(), out=points)  # clamp with tensors is ten times slower
        index = points.to(torch.int32)  # rounds down, as no place is negative
        if clamp:
            torch.minimum(index, last - 1, out=index)
        weights = points.sub_(index.float()).unbind()
        *leading, corner = index.unbind()
        for row, stride in zip(leading, strides, strict=False):
            corner.add_(row, alpha=stride)
        yield _Slab(slice(first * per_layer, first * per_layer + len(corner)), corner, weights)


def _terms(matrix: np.ndarray, centre: tuple[float, ...], shape: tuple[int, ...]) -> list[torch.Tensor]:
    """What each axis of the output adds to the source coordinates: float32 (d, 1, ..., length, ..., 1)."""
    dimension = len(shape)
    terms = []
    for axis, length in enumerate(shape):
        term = matrix[:, axis, None] * (np.arange(length) - (length - 1) / 2)
        if axis == 0:
            term = term + np.asarray(centre)[:, None]
        view = (dimension, *(length if other == axis else 1 for other in range(dimension)))
        terms.append(torch.from_numpy(term.astype(np.float32)).view(view))
    return [terms[0], *(term.squeeze(1) for term in terms[1:])]


def _corner_offsets(source: tuple[int, ...]) -> list[int]:
    """Flat distance from a cell's lower corner to each of its 2^d corners, the last axis changing fastest."""
    strides = [prod(source[axis + 1 :]) for axis in range(len(source))]
    return [sum(b * s for b, s in zip(bits, strides, strict=True)) for bits in product((0, 1), repeat=len(source))]


def _interpolate(shifted: list[torch.Tensor], slab: _Slab, out: torch.Tensor) -> None:
    values = [channel.index_select(0, slab.corner) for channel in shifted]
    for weight in slab.weights[:0:-1]:
        values = [torch.lerp(low, high, weight, out=low) for low, high in zip(values[::2], values[1::2], strict=True)]
    torch.lerp(values[0], values[1], slab.weights[0], out=out)
