"""Cubic interpolation from the four nearest samples along each axis, as sums of gathered values."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

_REACH = 4  # samples a cubic kernel touches along an axis


def keys_weights(fraction: Tensor) -> Tensor:
    """Weights of the samples at -1, 0, 1, 2 for a point at `fraction` in [0, 1): cubic convolution.

    Interpolates (the weights are 0, 1, 0, 0 at 0) and reproduces quadratic polynomials.

    Returns:
        (..., 4), of the input's dtype.

    Source: Keys 1981, IEEE TASSP 29(6), with a = -1/2.
    """
    t = fraction
    return torch.stack(
        (
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ),
        dim=-1,
    )


def spline_weights(fraction: Tensor) -> Tensor:
    """Weights of the coefficients at -1, 0, 1, 2 for a point at `fraction` in [0, 1): the uniform cubic B-spline.

    Does not interpolate the coefficients, but is twice continuously differentiable and reproduces linear polynomials.

    Returns:
        (..., 4), of the input's dtype.

    Source: Rueckert et al. 1999, IEEE TMI 18(8), equation 4.
    """
    t = fraction
    return torch.stack(
        (
            (1.0 - t) ** 3 / 6.0,
            (0.5 * t - 1.0) * t * t + 2.0 / 3.0,
            ((-0.5 * t + 0.5) * t + 0.5) * t + 1.0 / 6.0,
            t**3 / 6.0,
        ),
        dim=-1,
    )


def weighted_sum(values: Tensor, base: Tensor, weights: Tensor) -> Tensor:
    """Sums of values times weights that are products over the axes.

    Args:
        values: (C, *S); samples outside are those of the border.
        base: (..., D) int64, the sample to whose offsets -1, 0, 1, 2 the weights belong.
        weights: (..., D, 4).

    Returns:
        (C, ...); differentiable in values and weights.
    """
    shape = values.shape[1:]
    flat = values.flatten(1)
    steps = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        steps[axis] = steps[axis + 1] * shape[axis + 1]
    flat_index = [
        [(base[..., axis] + (k - 1)).clamp(0, length - 1) * steps[axis] for k in range(_REACH)]
        for axis, length in enumerate(shape)
    ]
    total = values.new_zeros((len(values), *base.shape[:-1]))
    for offsets in product(range(_REACH), repeat=len(shape)):
        sample = sum(flat_index[axis][k] for axis, k in enumerate(offsets))
        weight = torch.ones_like(weights[..., 0, 0])
        for axis, k in enumerate(offsets):
            weight = weight * weights[..., axis, k]
        total = total + flat[:, sample] * weight
    return total
