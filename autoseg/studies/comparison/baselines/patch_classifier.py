"""The slow ancestor of segmentation networks: a classifier of small patches that labels the central voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import read_case
from autoseg.errors import ConfigurationError
from autoseg.studies.comparison.baselines.examples import TrainingExample, examples
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Segmentation
from autoseg.studies.comparison.baselines.time_box import timed_steps
from autoseg.studies.comparison.baselines.training_patches import Shape, cut, in_half_precision, standardised, windows
from autoseg.training.runtime import find_device

SECONDS, STEPS = 120.0, 3000
"""Of training, at most, unless `options["seconds"]` and `options["steps"]` say otherwise."""

_DILATIONS = (1, 1, 2, 4)
_REACH = sum(_DILATIONS)  # voxels that the network sees to each side of the central one
_WIDTHS = (16, 24, 32, 32)
_RATE = 1e-3
_BATCH = 64
_PATCHES, _PATCH_BYTES = 20_000, 2**28  # drawn from all training cases: how many, and how large together
_WINDOW = {2: (1, 512, 512), 3: (48, 48, 48)}  # voxels that are labelled at once


@dataclass(frozen=True)
class FittedClassifier:
    """A trained classifier.

    Attributes:
        prior: (K,) what is added to the logits: labels are drawn evenly for training, but are not equally common.
    """

    network: nn.Module
    prior: Tensor
    dimension: int
    dataset: Dataset

    def predict(self, case: Case) -> Segmentation:
        """The most likely label of each voxel; the image continues with its mean beyond its border.

        Raises:
            ImageError: an image cannot be read.
        """
        array = standardised(read_case(case, len(self.dataset.channels)).array)
        z, y, x = array.shape[1:]
        labels = np.zeros((z, y, x), np.int16)
        for window in windows((z, y, x), _WINDOW[self.dimension]):
            start = [part.start for part in window]
            size = (window[0].stop - start[0], window[1].stop - start[1], window[2].stop - start[2])
            labels[window] = self._logits(array, start, size).argmax(0).reshape(size)
        return Segmentation(labels)

    def _logits(self, array: np.ndarray, start: Sequence[int], size: Shape) -> np.ndarray:
        """(K, *size without the axis of a plane): a valid convolution gives each voxel what its own patch would."""
        reach = _reach(self.dimension)
        context = cut(array, np.subtract(start, reach).tolist(), _grown(size, reach))
        image = torch.from_numpy(context if self.dimension == 3 else context[:, 0])[None].to(self.prior.device)
        with torch.inference_mode():
            logits = self.network(image)[0] + self.prior.reshape(-1, *(1,) * self.dimension)
        result: np.ndarray = logits.cpu().numpy()
        return result


def patch_classifier(context: BaselineContext) -> FittedClassifier:
    """Small network that labels the central voxel of a patch, as was usual before networks segmented whole images.

    After Ciresan et al. (2012, "Deep Neural Networks Segment Neuronal Membranes in Electron Microscopy Images", NeurIPS
    25). Patches of 17 voxels per side (images of one slice: 17^2) of the z-scored channels, without resampling; the
    same number of patches of each label; the labels' true frequencies come back in through the logits. Four
    convolutions, the later ones dilated in place of pooling, so that a whole window is labelled at once with the very
    values that its patches would give one by one (Giusti et al., 2013, arXiv:1302.1700).

    Args:
        context: `options` may have "seconds" and "steps" (training ends with whichever comes first) and "device".

    Raises:
        ImageError: a training case cannot be read.
        ConfigurationError: a wrong option, or not one annotated voxel.
    """
    drawn = draw_patches(context)
    device = find_device(context.options.get("device", "auto"))
    dimension, values = drawn.patches.ndim - 2, len(context.labels.values)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        network = _network(dimension, drawn.patches.shape[1], values).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    for step in timed_steps("patch-classifier", context.options, seconds=SECONDS, most=STEPS):
        chosen = np.random.default_rng((context.seed, step)).integers(len(drawn.labels), size=_BATCH)
        patches = torch.from_numpy(drawn.patches[chosen].astype(np.float32)).to(device)
        labels = torch.from_numpy(drawn.labels[chosen]).to(device)
        loss = functional.cross_entropy(network(patches).reshape(_BATCH, values), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    prior = torch.from_numpy(drawn.log_prior(values)).to(device)
    return FittedClassifier(network.eval(), prior, dimension, context.dataset)


@dataclass(frozen=True)
class DrawnPatches:
    """Patches around voxels of the training cases.

    Attributes:
        patches: (n, C, *patch) float16, standardised.
        labels: (n,) int64 of the central voxels.
        counts: (K,) how often each label occurs in the training cases.
    """

    patches: np.ndarray
    labels: np.ndarray
    counts: np.ndarray

    def log_prior(self, values: int) -> np.ndarray:
        """(K,) float32: log of how common a label is against how often it was drawn; a label never seen is refused."""
        drawn = np.bincount(self.labels, minlength=values)
        seen = drawn > 0
        prior = np.full(values, -1e9, np.float32)
        prior[seen] = np.log(self.counts[seen] / self.counts.sum()) - np.log(drawn[seen] / drawn.sum())
        return prior


def draw_patches(context: BaselineContext) -> DrawnPatches:
    """The same number of patches of each label that a case has, from every training case.

    Raises:
        ConfigurationError: no voxel is annotated.
        ImageError: a case cannot be read.
    """
    values = len(context.labels.values)
    counts = np.zeros(values, np.int64)
    patches, labels = [], []
    dimension = 0
    for number, example in enumerate(examples(context)):
        dimension = dimension or (2 if example.image.shape[0] == 1 else 3)
        present = np.bincount(example.labels.ravel(), minlength=values)[:values]
        counts += present
        each = _share(len(context.training), len(example.image.array), dimension) // max(
            1, int(np.count_nonzero(present))
        )
        generator = np.random.default_rng((context.seed, number, 1))
        for value in np.flatnonzero(present):
            voxels = _places(example.labels, int(value), max(1, each), generator)
            patches.append(_patches(example, voxels, dimension))
            labels.append(np.full(len(voxels), value, np.int64))
    if not patches:
        raise ConfigurationError("not one voxel of the training cases is annotated", where="patch-classifier")
    return DrawnPatches(np.concatenate(patches), np.concatenate(labels), counts)


def _share(cases: int, channels: int, dimension: int) -> int:
    """Patches of one case."""
    fitting = _PATCH_BYTES // (2 * channels * prod((2 * _REACH + 1,) * dimension))
    return int(min(_PATCHES, fitting)) // cases


def _places(labels: np.ndarray, value: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """(n, 3) places of a label, at most `count`, each at most once."""
    voxels = np.flatnonzero(labels.ravel() == value)
    chosen = voxels if len(voxels) <= count else generator.choice(voxels, count, replace=False)
    return np.stack(np.unravel_index(chosen, labels.shape), axis=1)


def _patches(example: TrainingExample, voxels: np.ndarray, dimension: int) -> np.ndarray:
    """(n, C, *patch) float16 around places."""
    array = in_half_precision(example.image.array)
    reach = _reach(dimension)
    size = _grown((1, 1, 1), reach)
    patches = np.stack([cut(array, np.subtract(voxel, reach).tolist(), size) for voxel in voxels])
    return patches if dimension == 3 else patches[:, :, 0]


def _reach(dimension: int) -> Shape:
    """Voxels to each side, per axis."""
    return (_REACH if dimension == 3 else 0, _REACH, _REACH)


def _grown(size: Shape, reach: Shape) -> Shape:
    z, y, x = (length + 2 * side for length, side in zip(size, reach, strict=True))
    return z, y, x


def _network(dimension: int, channels: int, outputs: int) -> nn.Module:
    """(B, channels, *patch) -> (B, outputs, *(patch - 2 * reach)): valid convolutions and nothing that sees further."""
    convolution: type[nn.Module] = nn.Conv2d if dimension == 2 else nn.Conv3d
    layers: list[nn.Module] = []
    for width, dilation in zip(_WIDTHS, _DILATIONS, strict=True):
        layers += [convolution(channels, width, 3, dilation=dilation), nn.ReLU()]  # type: ignore[call-arg]
        channels = width
    layers.append(convolution(channels, outputs, 1))  # type: ignore[call-arg]
    network = nn.Sequential(*layers)
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return network
