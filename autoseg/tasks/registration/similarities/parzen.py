"""Histograms with a derivative: each value is spread over four bins by a cubic B-spline window.

Source: Thevenaz and Unser 2000, IEEE TIP 9(12); Mattes et al. 2003, IEEE TMI 22(1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.cubic_interpolation import spline_weights

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

BINS = 32
REACH = 4
"""Bins that the window of a value touches."""

_CHUNK = 1 << 14  # values whose windows over all bins are in memory at once: 2 MB for 32 bins


def check_bins(bins: int, value_range: tuple[float, float]) -> None:
    """Options that all histograms share.

    Raises:
        ConfigurationError: fewer bins than a window and one more, or a range without extent.
    """
    if bins <= REACH or not value_range[0] < value_range[1]:
        raise ConfigurationError(
            "a histogram needs bins and a range of values",
            got=f"{bins} bins from {value_range[0]} to {value_range[1]}",
            expected=f"more than {REACH} bins, and a range whose end is above its start",
        )


def bin_positions(
    values: Float[Tensor, "*shape"], bins: int, value_range: tuple[float, float]
) -> Float[Tensor, "*shape"]:
    """Positions of values on the axis of bins; the range leaves a bin at either end for the windows.

    Values beyond the range count as its ends and have no gradient.

    Returns:
        Of the shape of `values`, from 1 to bins - 2, in bins.
    """
    low, high = value_range
    return 1 + (values.clamp(low, high) - low) * ((bins - REACH + 1) / (high - low))


def windows(positions: Float[Tensor, " value"], bins: int) -> tuple[Int64[Tensor, "value 4"], Float[Tensor, "value 4"]]:
    """The bins that each value touches, and its share in each.

    Args:
        positions: (N,), as `bin_positions` returns.

    Returns:
        (N, 4) int64 and (N, 4), rows of which sum to 1; the second is differentiable.
    """
    first = positions.detach().floor().clamp(1, bins - REACH + 1)
    offsets = torch.arange(-1, REACH - 1, device=positions.device)
    return first.long()[:, None] + offsets, spline_weights(positions - first)


def joint_histogram(
    fixed: Float[Tensor, " value"], warped: Float[Tensor, " value"], weights: Float[Tensor, " value"], bins: int
) -> Float[Tensor, "{bins} {bins}"]:
    """Share of the weight in each pair of bins; differentiable once in both images' positions.

    A pair of values touches 16 of the bins. The sum is taken as products of (values x bins) matrices, a chunk of
    values at a time, forward and backward: memory does not grow with values times bins.

    Args:
        fixed, warped: (N,), as `bin_positions` returns.
        weights: (N,), with a positive sum.
        bins: of each image.

    Returns:
        (bins of fixed, bins of warped), which sums to 1.
    """
    result: Tensor = _JointHistogram.apply(fixed, warped, weights / weights.sum(), bins)  # type: ignore[no-untyped-call]
    return result


class _JointHistogram(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fixed: Tensor, warped: Tensor, weights: Tensor, bins: int) -> Tensor:
        ctx.save_for_backward(fixed, warped, weights)
        ctx.bins = bins
        histogram = fixed.new_zeros((bins, bins))
        for f, w, weight in zip(*(part.split(_CHUNK) for part in (fixed, warped, weights)), strict=True):
            histogram += _spread(f, bins).T @ (_spread(w, bins) * weight[:, None])
        return histogram

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        fixed, warped, weights = ctx.saved_tensors
        (gradient,) = gradients
        needed = ctx.needs_input_grad[:2]
        slopes: tuple[list[Tensor], list[Tensor]] = [], []
        for f, w, weight in zip(*(part.split(_CHUNK) for part in (fixed, warped, weights)), strict=True):
            if needed[0]:
                slopes[0].append(weight * _pull(f, _spread(w, ctx.bins) @ gradient.T))
            if needed[1]:
                slopes[1].append(weight * _pull(w, _spread(f, ctx.bins) @ gradient))
        by_fixed, by_warped = (torch.cat(parts) if parts else None for parts in slopes)
        return by_fixed, by_warped, None, None


def _spread(positions: Tensor, bins: int) -> Tensor:
    """The windows of values (N,) as rows over all bins, (N, bins)."""
    index, share = windows(positions, bins)
    return positions.new_zeros((len(positions), bins)).scatter_(1, index, share)


def _pull(positions: Tensor, force: Tensor) -> Tensor:
    """The derivative by each value's position of the sum of its window times a force on the bins, (N, bins)."""
    index, _ = windows(positions, force.shape[1])
    return (force.gather(1, index) * _window_slopes(positions - index[:, 1])).sum(1)


def _window_slopes(t: Tensor) -> Tensor:
    """Derivatives of `spline_weights`, (N, 4)."""
    steps = (-0.5 * (1 - t).square(), (1.5 * t - 2) * t, (1 - 1.5 * t) * t + 0.5, 0.5 * t.square())
    return torch.stack(steps, dim=-1)
