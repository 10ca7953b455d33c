"""Voxels of a case for a classifier to learn from, as many of each label, with weights that undo the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.studies.comparison.baselines.features import FeaturePlan, slab_features, slabs
from autoseg.studies.comparison.baselines.intensities import Normalized


@dataclass(frozen=True)
class VoxelSample:
    """Some voxels.

    Attributes:
        features: float32 (n, features).
        labels: int16 (n,), training values.
        weights: float64 (n,), how many voxels of its label and case each stands for.
    """

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def draw(
    image: Normalized, labels: np.ndarray, plan: FeaturePlan, known: int, quota: int, rng: np.random.Generator
) -> VoxelSample:
    """A class-balanced sample of a case, without replacement.

    Each label of the case has the same share of the quota; what rare labels do not use is not given to others.

    Args:
        labels: int16 (Z, Y, X), training values; voxels outside the non-zero region or with values of `known` and
            above (ignored) are not drawn.
        quota: voxels at most, at least one of each label.
    """
    usable = image.inside & (labels >= 0) & (labels < known)
    present = np.unique(labels[usable])
    chosen: np.ndarray = np.zeros(labels.shape, bool)
    weight = np.zeros(known)
    for label in present:
        voxels = np.flatnonzero(usable & (labels == label))
        taken = rng.choice(voxels, min(voxels.size, max(1, quota // len(present))), replace=False)
        chosen.flat[taken] = True
        weight[label] = voxels.size / taken.size
    features, values = [np.empty((0, plan.count), np.float32)], [np.empty(0, np.int16)]
    for slab in slabs(labels.shape, plan):
        mask = chosen[slab.index]
        if mask.any():
            features.append(slab_features(image, plan, slab, mask))
            values.append(labels[slab.index][mask])
    drawn = np.concatenate(values)
    return VoxelSample(np.concatenate(features), drawn, weight[drawn])


def join(samples: Sequence[VoxelSample]) -> VoxelSample:
    """Samples of several cases as one; at least one."""
    return VoxelSample(
        np.concatenate([sample.features for sample in samples]),
        np.concatenate([sample.labels for sample in samples]),
        np.concatenate([sample.weights for sample in samples]),
    )
