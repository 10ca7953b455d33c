"""Labels at places between voxels: the one with the largest linear share.

That is what linear interpolation of one-hot labels and argmax gives. A cell lies between 2^d voxels, and almost all
cells hold a single label. So cells are looked up in a map that has the label of those, and only voxels in mixed cells
are computed; as nearly all of these hold two labels, one share decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Float32, Int16, Int32

_AT_ONCE = 1 << 14  # voxels of mixed cells worked on at a time, so that what is between stays in the cache
_FEW = 1 << 12  # voxels that are computed one and all in less time than a map of the cells takes
_NEAREST_BONUS = 2.5e-4  # decides ties for the nearest voxel; nnU-Net compares shares at half precision, step 5e-4


class LabelMap:
    """The labels of some channels prepared for looking up.

    Args:
        labels: int16 (L, *source), contiguous; source has 2 or 3 axes of at least 2 voxels.
        corners: flat distance from a cell's lower corner to each of its 2^d corners, the last axis changing fastest.
        voxels: how many a channel will be looked up.
    """

    def __init__(self, labels: Int16[torch.Tensor, " label *source"], corners: Sequence[int], voxels: int) -> None:
        self._flat, self._size, self._corners = labels.view(-1), labels[0].numel(), corners
        self._pending: list[tuple[torch.Tensor, ...]] = []
        values = labels.numpy()  # many times faster than torch's aminmax of integers
        self._lowest, self._highest = int(values.min()), int(values.max())
        self._base = min(self._lowest, 0)
        self._uniform, self._few = self._lowest == self._highest, voxels <= _FEW
        self._cells = None if self._uniform or self._few else _mark_mixed(values, self._base, self._highest)

    def look_up(
        self,
        corner: Int32[torch.Tensor, " voxel"],
        weights: Sequence[Float32[torch.Tensor, " voxel"]],
        out: Int16[torch.Tensor, "label _"],
        first: int,
    ) -> None:
        """Fills a run of voxels, all but those of mixed cells, which are put by.

        Args:
            corner: int32 (n,) flat index of each voxel's cell.
            weights: float32 (n,) per axis, the position inside the cell in [0, 1].
            out: int16 (L, N), whose columns from `first` on are filled.
        """
        run = slice(first, first + len(corner))
        if self._uniform:
            out[:, run] = self._lowest
        elif self._cells is None:
            for channel in range(len(out)):
                out[channel, run] = largest_share(self._at_corners(corner + channel * self._size), weights)
        else:
            self._look_up(self._cells, corner, weights, out, run)

    def _look_up(
        self,
        maps: Sequence[torch.Tensor],
        corner: torch.Tensor,
        weights: Sequence[torch.Tensor],
        out: torch.Tensor,
        run: slice,
    ) -> None:
        for channel, cells in enumerate(maps):
            cell_values = cells.index_select(0, corner)
            part = out[channel, run].copy_(cell_values)
            if self._base:
                part.add_(self._base)
            mixed = np.flatnonzero(cell_values.numpy() < 0)  # many times faster than torch's nonzero
            if len(mixed):
                chosen = torch.from_numpy(mixed)
                cell, *position = (values.index_select(0, chosen) for values in (corner, *weights))
                voxels = chosen.add_(run.start + channel * out.shape[1])
                self._pending.append((voxels, cell.add_(channel * self._size), *position))

    def finish(self, out: Int16[torch.Tensor, "label _"]) -> None:
        """Fills the voxels that were put by; `out` is the same as before."""
        if not self._pending:
            return
        voxels, corner, *weights = (torch.cat(parts) for parts in zip(*self._pending, strict=True))
        flat = out.view(-1)
        for first in range(0, len(voxels), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            winner = largest_share(self._at_corners(corner[part]), [weight[part] for weight in weights])
            flat.index_copy_(0, voxels[part], winner)
        self._pending.clear()

    def _at_corners(self, corner: torch.Tensor) -> torch.Tensor:
        return torch.stack([self._flat[offset:].index_select(0, corner) for offset in self._corners])


def largest_share(
    labels: Int16[torch.Tensor, "corner voxel"], weights: Sequence[Float32[torch.Tensor, " voxel"]]
) -> Int16[torch.Tensor, " voxel"]:
    """The label with the largest linear share among the corners of each voxel's cell; equal shares go to the nearest.

    Args:
        labels: int16 (2^d, n) labels at the corners, the last axis changing fastest.
        weights: float32 (n,) per axis, position inside the cell in [0, 1].

    Returns:
        int16 (n,).
    """
    nearest = (weights[0] >= 0.5).long()
    for weight in weights[1:]:
        nearest.mul_(2).add_(weight >= 0.5)
    low, high = reduce(torch.minimum, labels), reduce(torch.maximum, labels)
    is_high = torch.eq(labels, high, out=torch.empty(labels.shape))
    share = _interpolated(is_high, weights)
    share.add_(is_high.gather(0, nearest[None])[0], alpha=_NEAREST_BONUS)
    winner = torch.where(share > (1 + _NEAREST_BONUS) / 2, high, low)
    others = (labels != low).logical_and_(is_high == 0).numpy().any(0)
    if others.any():
        some = torch.from_numpy(np.flatnonzero(others))
        winner[some] = _of_several(labels[:, some], [weight[some] for weight in weights], nearest[some])
    return winner


def _of_several(labels: torch.Tensor, weights: Sequence[torch.Tensor], nearest: torch.Tensor) -> torch.Tensor:
    """The same for cells with any number of labels."""
    own = labels.gather(0, nearest[None])
    scores = _interpolated((labels[:, None] == labels).float(), weights)  # of the label at each corner
    scores.add_(own == labels, alpha=_NEAREST_BONUS)
    return labels.gather(0, scores.argmax(0, keepdim=True))[0]


def _interpolated(values: torch.Tensor, weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Values (2^d, ..., n) at the corners, interpolated linearly to (..., n)."""
    for weight in reversed(weights):
        values = torch.lerp(values[::2], values[1::2], weight)
    return values[0]


def _mark_mixed(labels: np.ndarray, base: int, highest: int) -> list[torch.Tensor]:
    """For each channel and voxel its label minus `base`, negative if the cell above the voxel holds several labels.

    Args:
        labels: int16 (L, *source).
        base: not above 0 nor above any label.
        highest: label.
    """
    dtype = np.int8 if highest - base <= np.iinfo(np.int8).max else np.int16
    cells = labels.astype(dtype)
    if base:
        np.subtract(cells, dtype(base), out=cells)
    mixed = np.zeros((1,) * labels.ndim, dtype=bool)
    for axis in reversed(range(1, labels.ndim)):
        lower, upper = (_part(labels.ndim, axis, part) for part in (slice(None, -1), slice(1, None)))
        differs = np.not_equal(cells[lower], cells[upper])
        if axis == labels.ndim - 1:
            mixed = differs
            continue
        # Along the axes after this one `mixed` has one voxel less: a cell needs both of its ends.
        inner = tuple(slice(None, n) for n in mixed.shape[axis + 1 :])
        differs = differs[(..., *inner)]
        differs |= mixed[lower]
        differs |= mixed[upper]
        mixed = differs
    sign = np.multiply(mixed.view(np.int8), np.iinfo(dtype).min, dtype=dtype)
    inside = cells[tuple(slice(None, n) for n in mixed.shape)]
    np.bitwise_or(inside, sign, out=inside)
    return list(torch.from_numpy(cells).flatten(1))


def _part(axes: int, axis: int, part: slice) -> tuple[slice, ...]:
    return tuple(part if a == axis else slice(None) for a in range(axes))
