"""How alike features of two images are, at each voxel and for small displacements."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

_LEAST = 1e-6
"""Added to the squared length of a feature vector."""


def offsets(radius: int, dimension: int) -> list[tuple[int, ...]]:
    """All displacements of up to `radius` voxels along each axis, in the order of `correlate`'s channels."""
    return list(product(range(-radius, radius + 1), repeat=dimension))


def correlate(fixed: Tensor, moving: Tensor, radius: int) -> Tensor:
    """The cosine between each fixed feature vector and the moving ones around the same voxel.

    Args:
        fixed, moving: (B, F, *S).
        radius: voxels along each axis.

    Returns:
        (B, (2 radius + 1)^D, *S): channel k belongs to `offsets(radius, D)[k]`, the displacement from the fixed voxel
        to the moving one; the moving features are continued by their border. Values lie in [-1, 1]; vectors of zeros
        give 0. Of the features' dtype, computed in float32.

    Source: the correlation layer of FlowNet, Dosovitskiy et al. 2015, ICCV, arXiv:1504.06852, with patches of one
    voxel, and with lengths divided out.
    """
    space, precision = fixed.shape[2:], fixed.dtype
    fixed, moving = _unit(fixed.float()), _unit(moving.float())  # on a CPU also faster than in half precision
    padded = functional.pad(moving, (radius,) * (2 * len(space)), mode="replicate")
    products = []
    for offset in offsets(radius, len(space)):
        window = padded
        for axis, (step, length) in enumerate(zip(offset, space, strict=True)):
            window = window.narrow(axis + 2, radius + step, length)
        products.append((fixed * window).sum(dim=1))
    return torch.stack(products, dim=1).to(precision)


def _unit(features: Tensor) -> Tensor:
    return features * (features.square().sum(dim=1, keepdim=True) + _LEAST).rsqrt()
