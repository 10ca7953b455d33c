"""Small data that contracts are checked on: plans, images, labels, stores. All of it is equal each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoseg.data.image import IntensityStatistics
from autoseg.data.labels import OUTSIDE, LabelScheme
from autoseg.plan.record import ConfigurationPlan

DIMENSIONS = (2, 3)

LABELS = LabelScheme(names={"background": 0, "organ": 1, "lesion": 2})
"""Background and two organs."""


def small_configuration(dimension: int, **changes: Any) -> ConfigurationPlan:
    """A configuration of three stages with a patch of 16 voxels along each axis, and two image channels."""
    d = dimension
    values: dict[str, Any] = {
        "spacing": (1.0,) * d,
        "median_shape": (24.0,) * d,
        "patch_size": (16,) * d,
        "batch_size": 2,
        "strides": ((1,) * d, (2,) * d, (2,) * d),
        "kernel_sizes": ((3,) * d,) * 3,
        "features_per_stage": (4, 6, 8),
        "blocks_per_stage": (1, 1, 1),
        "decoder_blocks_per_stage": (1, 1),
        "normalization": ("z-score", "z-score"),
        "use_mask_for_norm": (False, False),
        "batch_dice": False,
    }
    return ConfigurationPlan.model_validate({**values, **changes})


def statistics(array: np.ndarray) -> IntensityStatistics:
    """The statistics of all values of an array."""
    low, high = np.percentile(array, (0.5, 99.5))
    return IntensityStatistics(
        mean=float(array.mean()),
        median=float(np.median(array)),
        std=float(array.std()),
        min=float(array.min()),
        max=float(array.max()),
        percentile_00_5=float(low),
        percentile_99_5=float(high),
    )


def label_map(shape: Sequence[int], *, seed: int = 0) -> np.ndarray:
    """A ball of label 1 around one of label 2, somewhere near the middle: int16 of that shape."""
    rng = np.random.default_rng((seed, *shape))
    places = np.indices(shape)
    distance = np.zeros(tuple(shape))
    for axis, length in zip(places, shape, strict=True):
        centre = (length - 1) / 2 + rng.uniform(-0.1, 0.1) * length
        distance += ((axis - centre) / max(length / 2, 1)) ** 2
    return (distance < 0.5).astype(np.int16) + (distance < 0.15)


def blobs(shape: Sequence[int], *, channels: int = 1, seed: int = 0) -> np.ndarray:
    """A smooth pattern that repeats nowhere, mean 0 and deviation 1: float32 (channels, *shape)."""
    rng = np.random.default_rng((seed, channels, *shape))
    places = np.indices(shape)
    image = np.zeros((channels, *shape))
    for _ in range(6):
        centre, width = [rng.uniform(0, n) for n in shape], rng.uniform(2, 6)
        distance = np.sum([(axis - c) ** 2 for axis, c in zip(places, centre, strict=True)], axis=0)
        image += rng.uniform(0.5, 2, (channels,) + (1,) * len(shape)) * np.exp(-distance / (2 * width**2))
    return ((image - image.mean()) / image.std()).astype(np.float32)


def random_images(shape: Sequence[int], *, seed: int = 0) -> Tensor:
    """Normally distributed float32 of that shape."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


class SmallStore:
    """Cases in memory, a `PatchStore`.

    Args:
        shapes: case -> (Z, Y, X); the images have two channels.
        without_foreground: cases whose voxels are all background.
    """

    names: Mapping[str, int] = {"organ": 1, "lesion": 2}

    def __init__(self, shapes: Mapping[str, tuple[int, int, int]], *, without_foreground: Sequence[str] = ()) -> None:
        self.cases = tuple(shapes)
        self.labels = {case: label_map(shape, seed=number) for number, (case, shape) in enumerate(shapes.items())}
        for case in without_foreground:
            self.labels[case][...] = 0
        self._images = {case: blobs(shape, channels=2) for case, shape in shapes.items()}

    def shape(self, case: str) -> tuple[int, ...]:
        return self._images[case].shape

    def locations(self, case: str) -> dict[str, np.ndarray]:
        return {name: np.argwhere(self.labels[case] == value) for name, value in self.names.items()}

    def read_box(self, case: str, start: Sequence[int], size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        image, labels = self._images[case], self.labels[case]
        box = np.zeros((len(image), *size), np.float32)
        seen = np.full(tuple(size), OUTSIDE, np.int16)
        lows = [max(0, first) for first in start]
        highs = [min(n, first + length) for n, first, length in zip(labels.shape, start, size, strict=True)]
        if all(low < high for low, high in zip(lows, highs, strict=True)):
            there = tuple(map(slice, lows, highs))
            here = tuple(slice(low - s, high - s) for low, high, s in zip(lows, highs, start, strict=True))
            box[(slice(None), *here)], seen[here] = image[(slice(None), *there)], labels[there]
        return box, seen
