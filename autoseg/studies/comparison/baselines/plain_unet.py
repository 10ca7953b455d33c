"""A U-Net that looks at nothing: what self-configuration is measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import read_case
from autoseg.inference.sliding_window import Sliding, slide
from autoseg.losses.compound import dice_cross_entropy
from autoseg.losses.target import Target
from autoseg.networks.build import build_network
from autoseg.plan.record import ConfigurationPlan
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Segmentation
from autoseg.studies.comparison.baselines.time_box import timed_steps
from autoseg.studies.comparison.baselines.training_patches import (
    PatchCase,
    Shape,
    are_planes,
    around,
    cut,
    standardised,
)
from autoseg.studies.comparison.baselines.training_patches import store_training_cases as store
from autoseg.training.runtime import Runtime, find_device

SECONDS, STEPS = 300.0, 20_000
"""Of training, at most, unless `options["seconds"]` and `options["steps"]` say otherwise."""

_PATCHES = {2: (128, 12), 3: (64, 2)}
"""Voxels of a patch along each axis, and patches of a batch."""

_WIDTHS = (16, 32, 64)
_RATE = 1e-3
_ROWS = 32  # of logits that are held at once


@dataclass(frozen=True)
class FittedUNet:
    """A trained network and the tiles it takes (2 axes: slice by slice)."""

    network: nn.Module
    tile: tuple[int, ...]
    dataset: Dataset
    runtime: Runtime

    def predict(self, case: Case) -> Segmentation:
        """The label with the largest logit, averaged over tiles that overlap by half.

        Raises:
            ImageError: an image cannot be read.
        """
        image = torch.from_numpy(standardised(read_case(case, len(self.dataset.channels)).array))
        outputs = len(self.dataset.labels.values)
        logits = slide([self.network], image, outputs, Sliding(self.tile, overlap=0.5), self.runtime)
        labels = np.zeros(image.shape[1:], np.int16)
        with torch.inference_mode():
            for low in range(0, len(labels), _ROWS):
                high = min(low + _ROWS, len(labels))
                labels[low:high] = logits.take(low, high).argmax(0).numpy()
        return Segmentation(labels)


def plain_unet(context: BaselineContext) -> FittedUNet:
    """U-Net of fixed size (three levels of 16 to 64 features), trained for a few minutes without self-configuration.

    The network of Ronneberger et al. (2015, arXiv:1505.04597) and Çiçek et al. (2016, arXiv:1606.06650) with this
    project's blocks. Whatever the data are like: z-scores, no resampling, patches of 64^3 voxels (images of one slice:
    128^2), every second one around a foreground voxel, no augmentation, Dice and cross-entropy, Adam at a constant
    rate.

    Args:
        context: `options` may have "seconds" and "steps" (training ends with whichever comes first) and "device".

    Raises:
        ImageError: a training case cannot be read.
        ConfigurationError: a wrong option.
    """
    cases = store(context)
    runtime = Runtime(device=find_device(context.options.get("device", "auto")))
    configuration = _plan(2 if are_planes(cases) else 3, len(context.dataset.channels))
    network = build_network(configuration, len(context.dataset.channels), len(context.labels.values), seed=context.seed)
    network = runtime.place(network, configuration.dimension)
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    for step in timed_steps("plain-unet", context.options, seconds=SECONDS, most=STEPS):
        image, labels = _batch(cases, configuration, np.random.default_rng((context.seed, step)))
        target = Target.from_labels(labels.to(runtime.device), ignore=context.labels.training_ignore)
        loss = dice_cross_entropy(network(image.to(runtime.device)), target, batch_dice=False)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return FittedUNet(network.eval(), configuration.patch_size, context.dataset, runtime)


def _plan(dimension: int, channels: int) -> ConfigurationPlan:
    edge, batch = _PATCHES[dimension]
    one, two, three = (1,) * dimension, (2,) * dimension, (3,) * dimension
    return ConfigurationPlan(
        spacing=(1.0,) * dimension,
        median_shape=(edge,) * dimension,
        patch_size=(edge,) * dimension,
        batch_size=batch,
        strides=(one, two, two),
        kernel_sizes=(three,) * 3,
        features_per_stage=_WIDTHS,
        blocks_per_stage=(2, 2, 2),
        decoder_blocks_per_stage=(2, 2),
        normalization=("z-score",) * channels,
        use_mask_for_norm=(False,) * channels,
        batch_dice=False,
        deep_supervision=False,
    )


def _batch(
    cases: list[PatchCase], configuration: ConfigurationPlan, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Patches (B, C, *patch) float32 and their labels (B, 1, *patch) int64."""
    y, x = configuration.patch_size[-2:]
    size: Shape = (1 if configuration.dimension == 2 else configuration.patch_size[0], y, x)
    images, labels = [], []
    for sample in range(configuration.batch_size):
        case = cases[generator.integers(len(cases))]
        extent = case.labels.shape
        if sample % 2 and len(case.foreground):
            centre = case.foreground[generator.integers(len(case.foreground))]
        else:
            centre = generator.integers(extent)
        start = around(centre, size, extent)
        images.append(cut(case.image, start, size).astype(np.float32))
        labels.append(cut(case.labels, start, size).astype(np.int64)[None])
    shape = (-1, *configuration.patch_size)
    stacked = [torch.from_numpy(np.stack(arrays)) for arrays in (images, labels)]
    return stacked[0].reshape(configuration.batch_size, *shape), stacked[1].reshape(configuration.batch_size, *shape)
