"""What pushes a deformation: a similarity and its derivative by the warped image, ready for many calls at a level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from autoseg.registration.levels import Level
from autoseg.registration.optimize import NETWORK_RATE, learnt
from autoseg.registration.pair import Pair
from autoseg.registration.similarities.local_ncc import RADIUS, FixedWindows
from autoseg.registration.similarities.neighbourhoods import box_counts
from autoseg.registration.similarities.protocol import Similarity
from autoseg.registration.smoothing import gaussian

DETAIL = 3.0
"""How many times over what a Gaussian of one voxel takes away is added to images whose local correlation is compared.
Windows and interpolation are low-pass filters; this makes up for them, and small structures are what tells neighbouring
tissues apart."""

Force = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(warped (C, *S), seen (*S) bool) -> the loss, a scalar, and its derivative by the warped image (C, *S)."""

LOCAL_NCC = "local-ncc"


def force_of(name: str, similarity: Similarity, level: Level) -> Force:
    """The force of a similarity at a level: in closed form for local correlation, else by autograd."""
    return _local_correlation(level) if name == LOCAL_NCC else _by_autograd(similarity, level)


def emphasised(pair: Pair) -> Pair:
    """The pair with its details enhanced (`DETAIL`)."""
    fixed, moving = (
        image + DETAIL * (image - gaussian(image, [1.0] * pair.dimension)) for image in (pair.fixed, pair.moving)
    )
    return replace(pair, fixed=fixed, moving=moving)


def _local_correlation(level: Level) -> Force:
    """Local correlation over the windows that lie in the image as a whole.

    A window that the border cuts off has fewer voxels, and the correlation of few voxels is high by chance: left in,
    such windows pull at what stands at the border of the field of view. A mask says which windows count, by their
    centres; they see the image around it.
    """
    windows = FixedWindows.of(level.fixed, None, RADIUS)
    whole = box_counts(level.fixed.shape[1:], RADIUS, level.fixed)
    counted = (whole >= whole.amax() - 0.5).to(level.fixed.dtype)
    if level.fixed_mask is not None and bool((counted * level.fixed_mask).any()):
        counted = counted * level.fixed_mask
    windows = replace(windows, weights=counted)

    def force(warped: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        loss, change = windows.gradient(warped)
        return loss, change * seen

    return force


def _by_autograd(similarity: Similarity, level: Level) -> Force:
    weights = learnt(similarity)
    optimiser = torch.optim.Adam(weights, lr=NETWORK_RATE) if weights else None

    def force(warped: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        warped = warped.detach().requires_grad_(True)
        with torch.enable_grad():
            loss = similarity(level.fixed, warped, seen)
        change, *rest = torch.autograd.grad(loss, [warped, *weights], allow_unused=True)
        if optimiser is not None:
            for weight, gradient in zip(weights, rest, strict=True):
                weight.grad = gradient
            optimiser.step()
        return loss.detach(), change

    return force
