"""What pushes a deformation: a similarity and its derivative by the warped image, ready for many calls at a level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from autoseg.tasks.registration.levels import Level
from autoseg.tasks.registration.optimize import NETWORK_RATE, learnt
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.similarities.local_ncc import FixedWindows
from autoseg.tasks.registration.similarities.neighbourhoods import box_counts
from autoseg.tasks.registration.similarities.protocol import Similarity
from autoseg.tasks.registration.smoothing import gaussian

DETAIL = 3.0
"""How many times over what a Gaussian of one voxel takes away is added to images whose local correlation is compared.
Windows and interpolation are low-pass filters; this makes up for them, and small structures are what tells neighbouring
tissues apart."""

RADII = {2: 5, 3: 2}
"""Of the windows of local correlation by the number of axes: about 120 voxels each, on which a correlation has the same
spread by chance."""

_TINY = 1e-12  # the root has a derivative where nothing changes

Force = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(warped (C, *S), seen (*S) bool) -> the loss, a scalar, and its derivative by the warped image (C, *S)."""

LOCAL_NCC = "local-ncc"


def force_of(name: str, similarity: Similarity, level: Level) -> Force:
    """The force of a similarity at a level: in closed form for local correlation, else by autograd."""
    return _local_correlation(level) if name == LOCAL_NCC else _by_autograd(similarity, level)


def emphasised(pair: ImagePair) -> ImagePair:
    """The pair as local correlation compares it: details enhanced (`DETAIL`), edges as channels of their own.

    Two images agree where both their intensities and their edges do. Windows of intensities alone fit the brightness
    of a tissue as well as its shape; edges do not depend on the sign of a contrast, and mark where tissues end.
    """
    fixed, moving = (
        torch.cat((sharpened(image), edges(image, grid.spacing)))
        for image, grid in ((pair.fixed, pair.fixed_grid), (pair.moving, pair.moving_grid))
    )
    return replace(pair, fixed=fixed, moving=moving)


def sharpened(maps: Tensor, detail: float = DETAIL) -> Tensor:
    """Maps (K, *S) with their details enhanced."""
    return maps + detail * (maps - gaussian(maps, [1.0] * (maps.ndim - 1)))


def edges(maps: Tensor, spacing: Sequence[float], mask: Tensor | None = None) -> Tensor:
    """Magnitude of the gradient of maps (K, *S), per step of the finest axis.

    Args:
        maps: what to differentiate, by central differences, one-sided where one neighbour does not exist or count.
        spacing: of the axes, in any unit.
        mask: (K, *S) or (*S) bool, the voxels that count; None for all.
    """
    total = torch.full_like(maps, _TINY)
    for axis, step in zip(range(1, maps.ndim), spacing, strict=True):
        whole = slope(maps, axis) if mask is None else _slope_within(maps, mask.expand_as(maps).to(maps.dtype), axis)
        total = total + (whole * (min(spacing) / step)).square()
    return total.sqrt()


def _slope_within(maps: Tensor, weights: Tensor, axis: int) -> Tensor:
    """The mean of the differences to the neighbours along an axis that count; 0 without any."""
    length = maps.shape[axis] - 1
    counts = weights.narrow(axis, 1, length) * weights.narrow(axis, 0, length)
    steps = torch.where(counts > 0, maps.diff(dim=axis), 0)
    none = torch.zeros_like(maps.narrow(axis, 0, 1))
    total, number = (torch.cat((part, none), dim=axis) + torch.cat((none, part), dim=axis) for part in (steps, counts))
    return total / number.clamp_min(1)


def slope(image: Tensor, axis: int) -> Tensor:
    """Derivative per voxel along an axis, by central differences; zero along an axis of one voxel."""
    return torch.gradient(image, dim=axis)[0] if image.shape[axis] > 1 else torch.zeros_like(image)


def _local_correlation(level: Level) -> Force:
    """Local correlation over the windows that lie in the image as a whole.

    A window that the border cuts off has fewer voxels, and the correlation of few voxels is high by chance: left in,
    such windows pull at what stands at the border of the field of view. A mask says which windows count, by their
    centres; they see the image around it.
    """
    radius = RADII[level.fixed_grid.dimension]
    windows = FixedWindows.of(level.fixed, None, radius)
    whole = box_counts(level.fixed.shape[1:], radius, level.fixed)
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
