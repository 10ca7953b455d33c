"""Sampling an image and its labels on a rotated and scaled grid, both from one set of coordinates.

The grid is walked in slabs that fit the cache. For each voxel the lower corner of its cell and the position inside
it are worked out once; the image is interpolated linearly from the cell's corners. A label is the one with the
largest interpolated share (what linear interpolation of one-hot labels and argmax gives). Almost all cells hold a
single label, so each cell is looked up once and only voxels of mixed cells are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

_SLAB = 1 << 16  # voxels worked on at a time; measured: less costs calls, more costs cache
_NEAREST_BONUS = 2.5e-4  # decides ties for the nearest voxel; nnU-Net compares shares at half precision, step 5e-4


@dataclass(frozen=True)
class _Slab:
    """Where a run of output voxels takes its values from."""

    voxels: slice  # of the flattened output
    corner: torch.Tensor  # (n,) int32 flat index of the cell's lower corner
    weights: list[torch.Tensor]  # an axis, (n,) float32 position inside the cell in [0, 1]


def sample_affine(
    image: torch.Tensor,
    labels: torch.Tensor,
    matrix: np.ndarray,
    centre: tuple[float, ...],
    shape: tuple[int, ...],
    *,
    clamp: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
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
    out_image = image.new_empty((len(image), int(np.prod(shape))))
    out_labels = labels.new_empty((len(labels), out_image.shape[1]))
    corners = _corner_offsets(source)
    channels = [channel.reshape(-1) for channel in image]
    maps = [_LabelMap(channel) for channel in labels]
    for slab in _slabs(source, matrix, centre, shape, clamp):
        for channel, out in zip(channels, out_image, strict=True):
            _interpolate(channel, slab, corners, out[slab.voxels])
        for label_map, out in zip(maps, out_labels, strict=True):
            label_map.look_up(slab, out)
    for label_map, out in zip(maps, out_labels, strict=True):
        label_map.finish(corners, out)
    return out_image.reshape(-1, *shape), out_labels.reshape(-1, *shape)


def _slabs(
    source: tuple[int, ...], matrix: np.ndarray, centre: tuple[float, ...], shape: tuple[int, ...], clamp: bool
) -> Iterator[_Slab]:
    dimension = len(shape)
    offsets = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape]
    strides = [int(np.prod(source[axis + 1 :])) for axis in range(dimension)]
    planes = []  # what the axes after the first add to each source coordinate
    for row in range(dimension):
        plane = torch.full((1,) * dimension, centre[row], dtype=torch.float32)
        for axis in range(1, dimension):
            view = [1] * dimension
            view[axis] = -1
            plane = plane + offsets[axis].view(view) * float(matrix[row, axis])
        planes.append(plane)
    per_layer = int(np.prod(shape[1:]))
    layers = max(1, _SLAB // per_layer)
    for first in range(0, shape[0], layers):
        lead = offsets[0][first : first + layers].view(-1, *[1] * (dimension - 1))
        corner: torch.Tensor | None = None
        weights = []
        for row in range(dimension):
            place = (planes[row] + lead * float(matrix[row, 0])).expand(len(lead), *shape[1:]).reshape(-1)
            if clamp:
                place.clamp_(0, source[row] - 1)
            index = place.to(torch.int32)  # rounds down, as no place is negative
            if clamp:
                index.clamp_(max=source[row] - 2)
            weights.append(place.sub_(index))
            corner = index.mul_(strides[row]) if corner is None else corner.add_(index, alpha=strides[row])
        assert corner is not None
        yield _Slab(slice(first * per_layer, (first + len(lead)) * per_layer), corner, weights)


def _corner_offsets(source: tuple[int, ...]) -> list[int]:
    """Flat distance from a cell's lower corner to each of its 2^d corners, the last axis changing fastest."""
    strides = [int(np.prod(source[axis + 1 :])) for axis in range(len(source))]
    return [sum(b * s for b, s in zip(bits, strides, strict=True)) for bits in product((0, 1), repeat=len(source))]


def _interpolate(channel: torch.Tensor, slab: _Slab, corners: list[int], out: torch.Tensor) -> None:
    values = [channel[offset:].index_select(0, slab.corner) for offset in corners]
    for weight in reversed(slab.weights):
        values = [torch.lerp(low, high, weight, out=low) for low, high in zip(values[::2], values[1::2], strict=True)]
    out.copy_(values[0])


class _LabelMap:
    """Labels of one channel prepared for looking up: the lowest and the highest label of each cell.

    Where they differ the label must be computed; those voxels are put by and worked out together.
    """

    def __init__(self, labels: torch.Tensor) -> None:
        lowest, highest = (int(v) for v in torch.aminmax(labels))
        self._values = range(lowest, highest + 1)
        self._flat = labels.reshape(-1)
        self._pending: list[tuple[torch.Tensor, ...]] = []
        if len(self._values) > 1:
            compact = labels.to(torch.int8) if lowest >= -128 and highest < 128 else labels
            self._low, self._high = _over_cells(compact, torch.minimum), _over_cells(compact, torch.maximum)

    def look_up(self, slab: _Slab, out: torch.Tensor) -> None:
        """Fills the slab's part of `out`, all but the voxels of mixed cells."""
        if len(self._values) == 1:
            out[slab.voxels] = self._values[0]
            return
        low, high = self._low.index_select(0, slab.corner), self._high.index_select(0, slab.corner)
        out[slab.voxels] = low
        mixed = np.flatnonzero(torch.ne(low, high).numpy())  # many times faster than torch's nonzero
        if len(mixed):
            chosen = torch.from_numpy(mixed)
            picked = [values.index_select(0, chosen) for values in (slab.corner, *slab.weights)]
            self._pending.append((chosen + slab.voxels.start, *picked))

    def finish(self, corners: list[int], out: torch.Tensor) -> None:
        """Fills the voxels of mixed cells."""
        if not self._pending:
            return
        voxels, corner, *weights = (torch.cat(parts) for parts in zip(*self._pending, strict=True))
        for first in range(0, len(voxels), _SLAB // 4):
            part = slice(first, first + _SLAB // 4)
            winner = self._largest_share(corner[part], [weight[part] for weight in weights], corners)
            out.index_copy_(0, voxels[part], winner)

    def _largest_share(self, corner: torch.Tensor, weights: list[torch.Tensor], corners: list[int]) -> torch.Tensor:
        found = torch.stack([self._flat[offset:].index_select(0, corner) for offset in corners])
        nearest = torch.zeros(len(corner), dtype=torch.int64)
        for weight in weights:
            nearest.mul_(2).add_(weight >= 0.5)
        own = found.gather(0, nearest[None])[0]
        # With few labels try each of them, with many only those at the corners.
        few = len(self._values) <= len(corners)
        candidates: list[int] | list[torch.Tensor] = list(self._values) if few else list(found)
        best, winner = torch.full((len(corner),), -1.0), own.clone()
        is_label = torch.empty(found.shape, dtype=torch.float32)
        for candidate in candidates:
            share = torch.eq(found, candidate, out=is_label)
            for weight in reversed(weights):
                share = torch.lerp(share[::2], share[1::2], weight)
            score = share[0].add_(own == candidate, alpha=_NEAREST_BONUS)
            better = score > best
            torch.maximum(best, score, out=best)
            if isinstance(candidate, int):
                winner.masked_fill_(better, candidate)
            else:
                torch.where(better, candidate, winner, out=winner)
        return winner


def _over_cells(labels: torch.Tensor, extreme: Callable[..., torch.Tensor]) -> torch.Tensor:
    """For each voxel, the extreme label of the cell that it is the lower corner of; flattened."""
    for axis, length in enumerate(labels.shape):
        spread = labels.clone()
        lower, upper = labels.narrow(axis, 0, length - 1), labels.narrow(axis, 1, length - 1)
        extreme(lower, upper, out=spread.narrow(axis, 0, length - 1))
        labels = spread
    return labels.reshape(-1)
