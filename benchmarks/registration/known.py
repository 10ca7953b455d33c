"""Pairs whose true transform is known: an image, and what it looks like after a transform drawn at random."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from autoseg.data.image import Image
from autoseg.tasks.registration.pair import ImagePair, prepare
from autoseg.tasks.registration.smoothing import gaussian
from autoseg.tasks.registration.space import Grid, inside, sample
from autoseg.tasks.registration.transforms import Affine, Displacement, SpatialTransform, exponential

Kind = Literal["rigid", "affine", "smooth"]

DEGREES, SHIFT = 12.0, 0.06
"""Most that a map turns about each axis, and shifts, as a share of the image's diagonal."""

STRETCH = 0.12
"""Most that each entry of an affine map's matrix differs from a rotation's."""

WAVE, REACH = 0.12, 0.06
"""Of a smooth deformation, as shares of the image's diagonal: standard deviation of the Gaussian that smooths it, and
its largest displacement."""

_NOISE = 0.01
_CONTRAST = 0.05  # deviation of the intensities around a voxel that makes it one to judge by
_SQUARINGS = 6


@dataclass(frozen=True)
class Known:
    """A pair and its answer.

    Attributes:
        pair: ready to be registered; a mask names the fixed voxels that the moving image shows.
        content: (*S) bool, those of them with something to see around them: nothing tells where an empty place belongs.
        truth: from the fixed image's world to the moving image's.
    """

    pair: ImagePair
    content: Tensor
    truth: SpatialTransform

    def error(self, transform: SpatialTransform) -> float:
        """Mean distance in mm between where a transform takes the fixed voxels with content and where they belong."""
        points = self.pair.fixed_grid.points(torch.zeros((), dtype=torch.float64))[self.content]
        return float((transform(points) - self.truth(points)).norm(dim=-1).mean())

    @property
    def untouched(self) -> float:
        """The error of leaving the images as they are."""
        return self.error(Affine.identity(self.pair.dimension, self.pair.fixed_grid.centre))


def turned_grey(values: Tensor) -> Tensor:
    """Another modality: what is bright becomes dark, and dark tissues get the better contrast; from 0 to 1."""
    return (1.0 - values).square()


def known_pair(image: Image, kind: Kind, *, seed: int, grey: Callable[[Tensor], Tensor] | None = None) -> Known:
    """The image as the moving one, and as the fixed one itself under a random transform, with new noise.

    Args:
        image: of one channel, or colours (`registration.pair.prepare`).
        kind: of the transform.
        seed: of all that is drawn.
        grey: changes the fixed image's intensities, which lie from 0 to 1.
    """
    plain = prepare(image, image)
    grid, random = plain.moving_grid, np.random.default_rng(seed)
    truth = _smooth(grid, random) if kind == "smooth" else _linear(grid, random, STRETCH if kind == "affine" else 0.0)
    points = grid.points(torch.zeros((), dtype=torch.float64))
    places = truth(points)
    fixed = sample(plain.moving.double(), grid, places, mode="cubic").clamp(0, 1).float()
    seen = inside(grid, places)
    content = seen & (_deviation(fixed) > _CONTRAST)
    fixed = grey(fixed) if grey is not None else fixed
    noise = torch.from_numpy(random.normal(0, _NOISE, fixed.shape).astype(np.float32))
    return Known(replace(plain, fixed=fixed + noise, fixed_mask=seen, canvas=None), content, truth)


def _deviation(image: Tensor) -> Tensor:
    """Standard deviation of an image (C, *S) in a Gaussian window around each voxel, the largest of the channels."""
    window = [2.0] * (image.ndim - 1)
    return (gaussian(image.square(), window) - gaussian(image, window).square()).clamp_min(0).sqrt().amax(dim=0)


def _linear(grid: Grid, random: np.random.Generator, stretch: float) -> Affine:
    size = grid.dimension
    matrix = np.eye(size)
    for one in range(size):
        for other in range(one + 1, size):
            turn, angle = np.eye(size), math.radians(random.uniform(-DEGREES, DEGREES))
            turn[[one, one, other, other], [one, other, one, other]] = (
                math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
            )  # fmt: skip
            matrix = matrix @ turn
    matrix = matrix + random.uniform(-stretch, stretch, matrix.shape)
    shift = random.uniform(-1, 1, size) * SHIFT * grid.diagonal / math.sqrt(size)
    return Affine(torch.from_numpy(matrix), torch.from_numpy(shift), torch.tensor(grid.centre, dtype=torch.float64))


def _smooth(grid: Grid, random: np.random.Generator) -> Displacement:
    """A diffeomorphism: the exponential of smoothed noise."""
    noise = torch.from_numpy(random.normal(size=(grid.dimension, *grid.shape)))
    velocity = gaussian(noise, [WAVE * grid.diagonal / step for step in grid.spacing])
    velocity = velocity - velocity.flatten(1).mean(1).reshape(-1, *[1] * grid.dimension)
    velocity = velocity * (REACH * grid.diagonal / velocity.norm(dim=0).max())
    return Displacement(grid, exponential(velocity, grid, _SQUARINGS))
