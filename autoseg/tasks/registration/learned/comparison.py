"""How unlike the images of a batch are under a flow, at several resolutions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg import plugins
from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.forces import LOCAL_NCC, RADII, edges, sharpened
from autoseg.tasks.registration.learned.fields import resize_flow, seen, warp
from autoseg.tasks.registration.learned.settings import LearnedPlan
from autoseg.tasks.registration.similarities.local_ncc import FixedWindows
from autoseg.tasks.registration.similarities.neighbourhoods import box_sum
from autoseg.tasks.registration.similarities.protocol import Similarity

LEAST = 6
"""Voxels that an axis keeps at the coarsest resolution."""


class PyramidLevel(NamedTuple):
    """Images at one resolution.

    Attributes:
        images: (B, C, *S), ready to be compared.
        cover: (B, *S), how much of each voxel lies in the field of view, 0 to 1.
    """

    images: Tensor
    cover: Tensor


ImageComparison = Callable[[Sequence[Tensor], Sequence[PyramidLevel], Sequence[PyramidLevel]], list[Tensor]]
"""(flows from fixed to moving, views of both images) -> the mean dissimilarity at each resolution, fine to coarse."""

_HALF, _ALL = 0.5, 0.999
_TAIL = 0.005
_SAMPLES = 16384
_FLAT = 1e-6


def pyramid_levels(plan: LearnedPlan, images: Tensor, masks: Tensor | None) -> list[PyramidLevel]:
    """Images (B, C, *S) and their fields of view (B, *S) at each of the plan's resolutions, fine to coarse.

    They are halved by means of 2^D voxels from one resolution to the next. What is to be compared by local correlation
    has its details enhanced at each, and its edges as channels of their own (`forces.emphasised`).
    """
    halve = functional.avg_pool2d if plan.dimension == 2 else functional.avg_pool3d
    images = _unit_range(images, masks)
    inside = None if masks is None else masks.repeat_interleave(images.shape[1], dim=0)
    contours = None
    if plan.similarity == LOCAL_NCC:
        contours = _mapped(partial(edges, spacing=plan.spacing, mask=inside), images)
    cover = torch.ones_like(images[:, :1]) if masks is None else masks[:, None].to(images.dtype)
    levels: list[PyramidLevel] = []
    while True:
        shown = images
        if contours is not None:
            shown = torch.cat((_mapped(partial(sharpened, detail=plan.detail), images), contours), dim=1)
        levels.append(PyramidLevel(shown, cover[:, 0]))
        if len(levels) == plan.scales or min(images.shape[2:]) < 2 * LEAST:
            return levels
        images, cover = halve(images, 2), halve(cover, 2)
        contours = None if contours is None else halve(contours, 2)


def comparison(plan: LearnedPlan) -> ImageComparison:
    """The plan's similarity of the fixed and the warped moving image, averaged over pairs, at each resolution.

    Each resolution is judged by the flow of its own level: flows (B, D, *) come fine to coarse, and the last stands for
    all that are missing. So structures that lie far apart meet at coarse levels, while the finest flow answers for fine
    structures alone.

    Fixed voxels count where both fields of view cover them; a moving image continued by its border does not pull at
    what stands outside of it.

    Raises:
        ConfigurationError: an unknown similarity, wrong options, or one that itself has to be trained.
    """
    similarity = plugins.resolve("similarity", plan.similarity)(**plan.similarity_options)
    if isinstance(similarity, nn.Module):
        raise ConfigurationError(
            "this similarity learns while it is used and cannot train a network",
            got=plan.similarity,
            remedy="choose local-ncc, or mutual-information between modalities",
        )

    def compare(flows: Sequence[Tensor], fixed: Sequence[PyramidLevel], moving: Sequence[PyramidLevel]) -> list[Tensor]:
        losses = []
        for scale, (fixed_level, moving_level) in enumerate(zip(fixed, moving, strict=True)):
            flow = resize_flow(flows[min(scale, len(flows) - 1)], fixed_level.cover.shape[1:])
            losses.append(_dissimilarity(plan, similarity, fixed_level, moving_level, flow))
        return losses

    return compare


def _dissimilarity(
    plan: LearnedPlan, similarity: Similarity, fixed: PyramidLevel, moving: PyramidLevel, flow: Tensor
) -> Tensor:
    """How unlike images are at one resolution, the mean over the batch.

    Args:
        plan: which options the similarity has.
        similarity: of two images.
        fixed, moving: the images.
        flow: (B, D, *S) under which they are compared.
    """
    warped = warp(moving.images, flow)
    visible = seen(moving.cover >= _HALF, flow)
    warped = torch.where(visible[:, None], warped, warped.detach())
    losses = []
    for image, partner, inside, reached in zip(fixed.images, warped, fixed.cover > _ALL, visible, strict=True):
        if plan.similarity == LOCAL_NCC:
            losses.append(_local_correlation(image, partner, inside, plan.similarity_options))
        else:
            overlap = inside & reached
            losses.append(similarity(image, partner, overlap if bool(overlap.any()) else inside))
    return torch.stack(losses).mean()


def _local_correlation(fixed: Tensor, warped: Tensor, inside: Tensor, options: dict[str, float]) -> Tensor:
    """Local correlation over windows that lie in the fixed field of view as a whole, as the classical methods have it.

    A window that the border cuts off has fewer voxels, whose correlation is high by chance.

    Args:
        fixed, warped: (C, *S).
        inside: (*S) bool, the fixed field of view.
        options: of the similarity.
    """
    radius = int(options.get("radius", RADII[inside.ndim]))
    count = box_sum(inside[None].to(fixed.dtype), radius)[0]
    whole = count >= (2 * radius + 1) ** inside.ndim - _HALF
    weights = torch.where(whole.any(), whole, inside).to(fixed.dtype)
    windows = FixedWindows.of(fixed, None, **{**options, "radius": radius})  # type: ignore[arg-type]
    return replace(windows, weights=weights).loss(warped)


def _unit_range(images: Tensor, masks: Tensor | None) -> Tensor:
    """Images (B, C, *S) with the 0.5 and 99.5 percentiles of their fields of view, seen sparsely, at 0 and 1.

    Similarities are made for this range, and networks for images of mean 0.
    """
    scaled = []
    for i, image in enumerate(images):
        values, every = image.flatten(1), max(1, math.prod(image.shape[1:]) // _SAMPLES)
        values = values[:, ::every] if masks is None else values[:, ::every][:, masks[i].flatten()[::every]]
        values = values.sort(dim=1).values if values.numel() else image.flatten(1)[:, :1]
        last = values.shape[1] - 1
        low, high = values[:, round(_TAIL * last)], values[:, round((1 - _TAIL) * last)]
        per_channel = (-1, *[1] * (image.ndim - 1))
        scaled.append((image - low.reshape(per_channel)) / (high - low).clamp_min(_FLAT).reshape(per_channel))
    return torch.stack(scaled)


def _mapped(change: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What changes maps (K, *S) one by one, on images (B, C, *S)."""
    return change(images.flatten(0, 1)).unflatten(0, images.shape[:2])
