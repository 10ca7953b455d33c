"""Clusters of intensities over all channels, named by training cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from autoseg.data.dataset import Case
from autoseg.data.files import read_case
from autoseg.log import counted
from autoseg.studies.comparison.baselines.assignment import assign, count
from autoseg.studies.comparison.baselines.examples import examples
from autoseg.studies.comparison.baselines.intensities import Normalized, normalize
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Segmentation

CLUSTERS = (2, 3, 4, 6, 8)
"""Numbers of clusters that are tried; many would make a lookup table of the training labels rather than clusters."""

SAMPLE = 200_000
"""Voxels of all training cases together that centres are learned from."""


@dataclass(frozen=True)
class Clusters:
    """Centres of clusters and what they stand for.

    Attributes:
        channels: names of the channels.
        centres: float32 (clusters, C), in normalised intensities.
        labels: int16 (clusters,), the label of each.
    """

    channels: tuple[str, ...]
    centres: np.ndarray
    labels: np.ndarray

    @property
    def note(self) -> str:
        """What was chosen."""
        return f"{counted(len(self.labels), 'cluster')}, {np.count_nonzero(self.labels)} of them foreground"

    def predict(self, case: Case) -> Segmentation:
        """Labels int16; background outside the non-zero region."""
        image = normalize(read_case(case, len(self.channels)), self.channels)
        segmentation: np.ndarray = np.zeros(image.inside.shape, np.int16)
        segmentation[image.inside] = self.labels[nearest(image, self.centres)]
        return Segmentation(segmentation)


def k_means(context: BaselineContext) -> Clusters:
    """Clusters of the intensities of all channels; their number and labels by Dice on the training cases.

    Centres are learned from voxels of all training cases together, normalised case by case, without looking at labels.
    Sources: MacQueen 1967, "Some methods for classification and analysis of multivariate observations"; Sculley 2010,
    "Web-scale k-means clustering", WWW (the mini-batches).
    """
    channels = context.dataset.channels
    labels = len(context.labels.values)
    voxels = _sample(context)
    tried = [_centres(voxels, number, context.seed) for number in CLUSTERS if number <= len(np.unique(voxels, axis=0))]
    if not tried:
        return Clusters(channels, np.zeros((1, len(channels)), np.float32), np.zeros(1, np.int16))
    counts: list[list[np.ndarray]] = [[] for _ in tried]
    for example in examples(context):
        image = normalize(example.image, channels)
        reference = example.labels[image.inside]
        for centres, cases in zip(tried, counts, strict=True):
            cases.append(count(nearest(image, centres), reference, (len(centres), labels)))
    chosen = [assign(np.stack(cases)) for cases in counts]
    best = max(range(len(tried)), key=lambda one: chosen[one].score)
    return Clusters(channels, tried[best], chosen[best].labels)


def nearest(image: Normalized, centres: np.ndarray) -> np.ndarray:
    """The cluster of each voxel inside the non-zero region, int64 (n,); the first of two equally near centres."""
    inside = image.inside
    best: np.ndarray = np.zeros(np.count_nonzero(inside), np.int64)
    distance = np.full(best.shape, np.inf, np.float32)
    for number, centre in enumerate(centres):
        squared: np.ndarray = np.zeros(best.shape, np.float32)
        for channel, value in zip(image.array, centre, strict=True):
            squared += (channel[inside] - value) ** 2
        nearer = squared < distance
        best[nearer] = number
        distance[nearer] = squared[nearer]
    return best


def _sample(context: BaselineContext) -> np.ndarray:
    """Voxels of the non-zero regions, the same number per case where there are as many: float32 (n, C)."""
    share = max(1, SAMPLE // len(context.training))
    parts = []
    for index, example in enumerate(examples(context)):
        image = normalize(example.image, context.dataset.channels)
        voxels = np.flatnonzero(image.inside)
        rng = np.random.default_rng((context.seed, index))
        taken = rng.choice(voxels, min(share, voxels.size), replace=False) if voxels.size else voxels
        parts.append(image.array.reshape(len(image.array), -1)[:, taken].T)
    return np.concatenate(parts)


def _centres(voxels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Centres in the order of their first channel."""
    fitted = MiniBatchKMeans(number, random_state=seed, n_init=3, batch_size=4096).fit(voxels)
    centres = fitted.cluster_centers_.astype(np.float32)
    return centres[np.lexsort(centres.T[::-1])]
