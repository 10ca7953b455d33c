"""Sums over the voxels of channels-last features, and what instance normalisation makes of them.

Features of one sample are rows (N, C), a voxel each. A sum that adds one row after the other in float32 loses a digit
for every tenfold of rows. Here rows are added in blocks in float32, and the blocks in float64. The rows are gone
through in pieces that stay in the cache, so that squares and products are never written to memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float, Float32

_BLOCK = 1024
"""Rows that are added in float32."""
_PIECE_BYTES = 2**20
_WIDE = 1024
"""Values that lie side by side, about, where rows are scaled."""


def mean_and_variance(
    rows: Float[Tensor, "voxel channel"],
) -> tuple[Float32[Tensor, " channel"], Float32[Tensor, " channel"]]:
    """Mean and biased variance (C,) float32 of the columns of rows (N, C), N > 0, of any floating type."""
    total, squares = _sums(lambda part: (part, part.square()), rows)
    mean = total / len(rows)
    return mean.float(), (squares / len(rows) - mean.square()).clamp_(min=0).float()


def scale_rows_(
    rows: Float32[Tensor, "voxel channel"],
    scale: Float32[Tensor, " channel"],
    shift: Float32[Tensor, " channel"],
    slope: float | None = None,
) -> None:
    """Makes `rows * scale + shift`, and of that a leaky ReLU, of rows (N, C) float32 in their own memory.

    One operation over rows of few channels spends its time on their ends, so that several rows lie side by side here.

    Args:
        rows: contiguous.
        scale, shift: (C,) float32.
        slope: of the leaky ReLU for negative values; None leaves it out.
    """
    channels = rows.shape[1]
    beside = max(1, _WIDE // channels)
    whole = len(rows) // beside * beside
    for part, repeats in ((rows[:whole], beside), (rows[whole:], 1)):
        wide, wide_scale, wide_shift = part.view(-1, repeats * channels), scale.repeat(repeats), shift.repeat(repeats)
        for piece in _pieces(wide, multiple=1):
            torch.addcmul(wide_shift, piece, wide_scale, out=piece)
            if slope is not None:
                functional.leaky_relu_(piece, slope)


def normalization_gradients(
    gradient: Float[Tensor, "voxel channel"],
    rows: Float[Tensor, "voxel channel"],
    to_rows: Float[Tensor, "voxel channel"],
    weight: Float32[Tensor, " channel"],
    mean: Float32[Tensor, " channel"],
    inverse: Float32[Tensor, " channel"],
) -> tuple[Float32[Tensor, " channel"], Float32[Tensor, " channel"]]:
    """Backward pass of `(rows - mean) * inverse * weight + bias` (Ioffe and Szegedy, 2015, arXiv:1502.03167).

    Args:
        gradient: of the result, (N, C).
        rows: what was normalised, (N, C).
        to_rows: is filled with the gradient of `rows`, (N, C).
        weight: (C,) float32.
        mean, inverse: statistics of `rows`, the second the inverse standard deviation, (C,) float32.

    Returns:
        Gradients of weight and bias, (C,) float32.
    """
    total, products = _sums(lambda one, other: (one, one * other), gradient, rows)
    to_weight = (products - mean * total) * inverse
    scale = weight.double() * inverse
    of_rows = -scale * inverse * to_weight / len(rows)
    constant = (-scale * total / len(rows) - of_rows * mean).float()
    scale, of_rows = scale.float(), of_rows.float()
    for one, other, target in zip(*(_pieces(part) for part in (gradient, rows, to_rows)), strict=True):
        target.copy_(torch.addcmul(constant, other.float(), of_rows).addcmul_(one.float(), scale))
    return to_weight.float(), total.float()


def _sums(terms: Callable[..., tuple[Tensor, Tensor]], *rows: Tensor) -> tuple[Tensor, Tensor]:
    """The sums over rows of two terms (C,) float64; `terms` is given float32 pieces of all `rows` at once."""
    channels = rows[0].shape[1]
    sums = (torch.zeros(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64))
    for parts in zip(*(_pieces(one) for one in rows), strict=True):
        for total, term in zip(sums, terms(*(part.float() for part in parts)), strict=True):
            whole = len(term) // _BLOCK * _BLOCK
            total += term[:whole].view(-1, _BLOCK, channels).sum(1).sum(0, dtype=torch.float64)
            total += term[whole:].sum(0, dtype=torch.float64)
    return sums


def _pieces(rows: Tensor, multiple: int = _BLOCK) -> tuple[Tensor, ...]:
    count = max(multiple, _PIECE_BYTES // (4 * rows.shape[1]) // multiple * multiple)
    return rows.split(count)
