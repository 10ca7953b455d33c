"""Tiny plans, networks and random blob images for the tests of pretraining."""

from __future__ import annotations

import numpy as np

from autoseg.plan.record import ConfigurationPlan
from autoseg.tasks.pretraining.batch import ViewBatch, collate
from autoseg.tasks.pretraining.presets import preset
from autoseg.tasks.pretraining.protocol import PretrainingMethod, PretrainingSetting
from autoseg.tasks.pretraining.views import Crop


def plan(dimension: int = 2, network: str = "plain-unet", **changes: object) -> ConfigurationPlan:
    """Three stages, a patch of 4 blocks of 4 voxels along each axis."""
    d = dimension
    values: dict[str, object] = {
        "spacing": (1.0,) * d,
        "median_shape": (24.0,) * d,
        "patch_size": (16,) * d,
        "batch_size": 4,
        "network": network,
        "strides": ((1,) * d, (2,) * d, (2,) * d),
        "kernel_sizes": ((3,) * d,) * 3,
        "features_per_stage": (4, 8, 12),
        "blocks_per_stage": (1, 1, 1),
        "decoder_blocks_per_stage": (1, 1),
        "normalization": ("z-score",),
        "use_mask_for_norm": (False,),
        "batch_dice": False,
    }
    return ConfigurationPlan.model_validate({**values, **changes})


def setting(
    dimension: int = 2, network: str = "plain-unet", *, channels: int = 1, **changes: object
) -> PretrainingSetting:
    """A setting of that plan with the views of magnetic resonance."""
    return PretrainingSetting(configuration=plan(dimension, network, **changes), channels=channels, views=preset("mr"))


def blobs(rng: np.random.Generator, shape: tuple[int, ...], channels: int = 1) -> np.ndarray:
    """A few Gaussian blobs, mean 0 and deviation 1: float32 (channels, *shape)."""
    places = np.indices(shape)
    image = np.zeros((channels, *shape))
    for _ in range(5):
        centre, width = [rng.uniform(0, n) for n in shape], rng.uniform(2, 6)
        distance = sum((axis - c) ** 2 for axis, c in zip(places, centre, strict=True))
        image += rng.uniform(0.5, 2, (channels,) + (1,) * len(shape)) * np.exp(-distance / (2 * width**2))
    return ((image - image.mean()) / image.std()).astype(np.float32)


def read_box(image: np.ndarray, box: Crop) -> np.ndarray:
    """The box of an image, 0 beyond it: what a store gives."""
    margin = max(max(0, -a, a + n - m) for a, n, m in zip(box.start, box.size, image.shape[1:], strict=True))
    padded = np.pad(image, ((0, 0), *[(margin, margin)] * len(box.size)))
    return padded[(slice(None), *(slice(a + margin, a + margin + n) for a, n in zip(box.start, box.size, strict=True)))]


def batch_of(
    method: PretrainingMethod, shape: tuple[int, ...], *, samples: int = 4, channels: int = 1, seed: int = 0
) -> ViewBatch:
    """A batch of examples of blob images, one image an example."""
    examples = []
    for index in range(samples):
        rng = np.random.default_rng((seed, index))
        image = blobs(rng, shape, channels)
        drawn = method.draw(rng, shape)
        examples.append(method.make(read_box(image, drawn.region), drawn))
    return collate(examples, [f"case_{index}" for index in range(samples)])
