"""Smooth random deformations, whose flow is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from autoseg.tasks.registration.learned.fields import integrate
from autoseg.tasks.registration.smoothing import gaussian

_SCALES = (4.0, 8.0, 16.0)
"""Standard deviations in voxels of the smoothed noise, added in equal shares."""

_STEPS = 6


def random_deformation(shape: Sequence[int], generator: np.random.Generator, *, amplitude: float) -> Tensor:
    """The exponential of a random velocity: smoothed white noise of several scales, so that it does not fold.

    Args:
        shape: (*S) of the grid.
        generator: what draws it; the same state gives the same deformation.
        amplitude: standard deviation of the velocity over the grid along each axis, voxels (about that of the
            displacement).

    Returns:
        (D, *S) float32 displacement in voxels. With it `fixed = warp(moving, u)` and `u` is the answer.

    Source: training on synthetic deformations: Eppenhof and Pluim 2019, IEEE TMI 38(5); FlowNet, arXiv:1504.06852.
    """
    shape = tuple(shape)
    noise = torch.from_numpy(generator.standard_normal((len(_SCALES), len(shape), *shape), dtype=np.float32))
    velocity = torch.zeros(len(shape), *shape)
    for part, sigma in zip(noise, _SCALES, strict=True):
        smooth = gaussian(part, [min(sigma, length / 4) for length in shape])
        velocity += smooth / smooth.std().clamp_min(torch.finfo(smooth.dtype).tiny)
    velocity *= amplitude / len(_SCALES) ** 0.5
    return integrate(velocity[None], _STEPS)[0]
