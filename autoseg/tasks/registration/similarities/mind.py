"""MIND and MIND-SSC: what an image looks like beside its own neighbourhood, for images of different modalities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import torch
from torch import Tensor

from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.similarities.neighbourhoods import box_sum, shifted
from autoseg.tasks.registration.similarities.protocol import Similarity, average, visible

Offset = tuple[int, ...]
Layout = Callable[[int, int], list[tuple[Offset, Offset]]]
"""(dimension, dilation) -> the pairs of offsets from a voxel, whose patches are compared."""

VARIANCE_LIMITS = (1e-3, 1e3)
"""Local variances are kept within these multiples of their mean, as in Heinrich's published code."""

_TINY = 1e-8  # squared intensity: an image without any variance has all patches at distance zero


def mind(*, radius: int = 1, dilation: int = 1) -> Similarity:
    """Squared difference of MIND descriptors (modality independent neighbourhood descriptor).

    A descriptor has one entry for each of the 4 or 6 neighbours r at `dilation` voxels,

        MIND(I, x, r) = exp(-D(x, x + r) / V(x)) / max over r,

    with D the mean squared difference of the patches around x and x + r, and V the mean of D over the neighbours, kept
    within `VARIANCE_LIMITS`. The loss is the mean over voxels and entries of (MIND(f) - MIND(w))^2, from 0 (perfect)
    to below 1. A constant image has all entries 1, and no gradient. A patch is cut off at the border of the grid and of
    the mask: D is the mean over the voxels whose partner exists.

    Args:
        radius: of patches, voxels: cubes (the paper has Gaussian weights, which cost more and serve as well).
        dilation: distance of the neighbours, voxels.

    Raises:
        ConfigurationError: a negative radius, or a dilation below 1.

    Source: Heinrich et al. 2012, Medical Image Analysis 16(7): the descriptor with the six-neighbourhood as its search
    region. Squares take the place of absolute differences, as in the paper's Gauss-Newton optimisation.
    """
    return _similarity(_star, radius, dilation)


def mind_ssc(*, radius: int = 1, dilation: int = 2) -> Similarity:
    """Squared difference of MIND-SSC descriptors (self-similarity context): as MIND, less moved by noise at a voxel.

    The entries compare neighbours with each other, not with the voxel itself: the 12 pairs of the 6 neighbours at
    `dilation` voxels (the 4 pairs of 4, in a plane) that are not opposite. All else as for `mind`.

    Args:
        radius: of patches, voxels.
        dilation: distance of the neighbours, voxels.

    Raises:
        ConfigurationError: a negative radius, or a dilation below 1.

    Source: Heinrich et al. 2013, MICCAI, LNCS 8149, whose quantised descriptors and Hamming distance have no
    derivative.
    """
    return _similarity(_context, radius, dilation)


@dataclass(frozen=True)
class _PatchPairs:
    """Pairs of patches that are compared at each voxel.

    Attributes:
        offsets: of the patches' centres from the voxel.
        seen: (*S) bool per pair, whether both voxels exist and count.
        counts: (*S) per pair, how many voxels of the patches do, at least 1.
    """

    offsets: list[tuple[Offset, Offset]]
    seen: list[Tensor]
    counts: list[Tensor]
    radius: int

    @classmethod
    def of(cls, offsets: list[tuple[Offset, Offset]], weights: Tensor, radius: int) -> _PatchPairs:
        counted = weights > 0
        seen = [shifted(counted, first) & shifted(counted, second) for first, second in offsets]
        counts = [box_sum(both.to(weights.dtype)[None], radius)[0].clamp_min(1) for both in seen]
        return cls(offsets, seen, counts, radius)

    def distances(self, image: Tensor) -> Tensor:
        """The mean squared difference of the patches of an image (*S): (pairs, *S); 0 where none is seen."""
        squares = [
            torch.where(seen, shifted(image, first) - shifted(image, second), 0).square()
            for (first, second), seen in zip(self.offsets, self.seen, strict=True)
        ]
        return box_sum(torch.stack(squares), self.radius) / torch.stack(self.counts)


def _descriptors(image: Tensor, pairs: _PatchPairs, weights: Tensor) -> Tensor:
    """The descriptors of an image (*S): (pairs, *S), from 0 to 1; the largest entry of each voxel is 1."""
    distances = pairs.distances(image)
    variance = distances.mean(0)
    usual = average(variance[None], weights)[0]
    low, high = (limit * usual for limit in VARIANCE_LIMITS)
    variance = torch.minimum(torch.maximum(variance, low + _TINY), high + _TINY)
    return torch.exp((distances.amin(0) - distances) / variance)


def _similarity(layout: Layout, radius: int, dilation: int) -> Similarity:
    if radius < 0 or dilation < 1:
        raise ConfigurationError(
            "the descriptor has no such neighbourhood",
            got=f"radius {radius}, dilation {dilation}",
            expected="a radius of at least 0 and a dilation of at least 1 voxel",
        )
    return partial(_difference, layout=layout, radius=radius, dilation=dilation)


def _difference(
    fixed: Tensor, warped: Tensor, mask: Tensor | None = None, *, layout: Layout, radius: int, dilation: int
) -> Tensor:
    fixed, warped, weights = visible(fixed, warped, mask)
    pairs = _PatchPairs.of(layout(weights.ndim, dilation), weights, radius)
    losses = []
    for f, w in zip(fixed, warped, strict=True):
        entries = _descriptors(f, pairs, weights) - _descriptors(w, pairs, weights)
        losses.append(average(entries.square(), weights).mean())
    return torch.stack(losses).mean()


def _star(dimension: int, dilation: int) -> list[tuple[Offset, Offset]]:
    centre = (0,) * dimension
    return [(centre, neighbour) for neighbour in _neighbours(dimension, dilation)]


def _context(dimension: int, dilation: int) -> list[tuple[Offset, Offset]]:
    pairs = combinations(_neighbours(dimension, dilation), 2)
    return [(first, second) for first, second in pairs if any(a + b for a, b in zip(first, second, strict=True))]


def _neighbours(dimension: int, dilation: int) -> list[Offset]:
    """The two neighbours along each axis."""
    return [
        tuple(sign * dilation * (axis == other) for other in range(dimension))
        for axis in range(dimension)
        for sign in (-1, 1)
    ]
