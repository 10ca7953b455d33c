"""Classifiers that label each voxel by itself from hand-made features, as before networks learned them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import parallel_config
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from autoseg.data.dataset import Case
from autoseg.data.files import read_case
from autoseg.log import counted
from autoseg.studies.comparison.baselines.examples import examples
from autoseg.studies.comparison.baselines.features import FeaturePlan, FeatureSlab, plan_features, slab_features, slabs
from autoseg.studies.comparison.baselines.intensities import normalize
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Segmentation
from autoseg.studies.comparison.baselines.sampling import VoxelSample, draw, join

SAMPLE = 200_000
"""Voxels of all training cases together that are learned from."""

TREES = 50
LEAF = 5
"""Trees of the forest, and training voxels in the smallest leaf; more trees cost time per voxel and gain little."""

PRIOR_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How much of the labels' true frequency is given back to a classifier that has learned from a balanced sample. With
0 rare labels are predicted too often, with 1 the error rate is least but rare labels are missed; Dice lies between."""

_HELD_OUT = 5  # every fifth training case chooses the share, where there are as many
_SHARE_WITHOUT_HELD_OUT = 0.5
_GEOMETRIES = 8  # training cases that the scales are taken from
_SMALLEST_PROBABILITY = 1e-6
_STEPS, _TOLERANCE = 500, 1e-3  # of the regression, which never ends exactly where labels are separable
_LARGEST_SCORE = 5.0  # standard deviations; squares of outliers would rule the regression


@dataclass(frozen=True)
class VoxelClassifier:
    """A fitted classifier.

    Attributes:
        channels: names of the channels.
        plan: the features.
        model: a scikit-learn classifier with `predict_proba`; None where training had only one label.
        classes: int16 (classes,), training values in the order of the probabilities.
        prior: float64 (classes,), what is added to the logarithms of the probabilities.
        workers: threads that predict.
    """

    channels: tuple[str, ...]
    plan: FeaturePlan
    model: Any
    classes: np.ndarray
    prior: np.ndarray
    workers: int

    @property
    def note(self) -> str:
        """What was chosen."""
        scales = ", ".join(f"{scale:.3g}" for scale in self.plan.scales)
        return f"{counted(self.plan.count, 'feature')}, at scales of {scales} mm"

    def predict(self, case: Case) -> Segmentation:
        """Labels int16, background outside the non-zero region; disagreement is 1 - the label's probability."""
        image = normalize(read_case(case, len(self.channels)), self.channels)
        labels: np.ndarray = np.zeros(image.inside.shape, np.int16)
        unsure: np.ndarray = np.zeros(image.inside.shape, np.float32)

        def fill(slab: FeatureSlab) -> None:
            mask = image.inside[slab.index]
            rows = slab_features(image, self.plan, slab, mask)
            if len(rows):
                labels[slab.index][mask], unsure[slab.index][mask] = self._classify(rows)

        with ThreadPoolExecutor(self.workers) as pool:
            list(pool.map(fill, slabs(image.inside.shape, self.plan)))
        return Segmentation(labels, unsure)

    def _classify(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Label and doubt of each row of features."""
        if self.model is None:
            return np.full(len(rows), self.classes[0]), np.zeros(len(rows), np.float32)
        scores = log_probabilities(self.model, rows) + self.prior
        best = scores.argmax(axis=1)
        scores -= scores.max(axis=1, keepdims=True)
        return self.classes[best], (1 - 1 / np.exp(scores).sum(axis=1)).astype(np.float32)


def logistic_regression(context: BaselineContext) -> VoxelClassifier:
    """A linear classifier of a voxel's neighbourhood at several scales and its place, and of their squares.

    With squares a label may be of middling intensity or lie in the middle. It learns from a class-balanced sample of
    voxels; how much of the labels' frequency it is given back is chosen on training cases held out.
    Sources: Cox 1958, "The regression analysis of binary sequences", JRSS B 20(2); Saerens et al. 2002, "Adjusting the
    outputs of a classifier to new a priori probabilities", Neural Computation 14(1), eq. 2.4.
    """
    squares = FunctionTransformer(_with_squares)
    return _fit(context, make_pipeline(StandardScaler(), squares, LogisticRegression(max_iter=_STEPS, tol=_TOLERANCE)))


def random_forest(context: BaselineContext) -> VoxelClassifier:
    """A random forest on a voxel's neighbourhood at several scales in all channels, and its place.

    It learns from a class-balanced sample of voxels; how much of the labels' frequency it is given back is chosen on
    training cases held out.
    Sources: Breiman 2001, "Random forests", Machine Learning 45; Geremia et al. 2011, "Spatial decision forests for MS
    lesion segmentation in multi-channel magnetic resonance images", NeuroImage 57(2); Berg et al. 2019, "ilastik",
    Nature Methods 16 (features); Saerens et al. 2002, Neural Computation 14(1), eq. 2.4 (frequencies).
    """
    forest = RandomForestClassifier(TREES, min_samples_leaf=LEAF, max_samples=0.5, random_state=context.seed)
    return _fit(context, forest)


def log_probabilities(model: Any, rows: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities of rows of features, float64 (rows, classes)."""
    return np.log(np.maximum(model.predict_proba(rows), _SMALLEST_PROBABILITY))


def best_share(scores: np.ndarray, prior: np.ndarray, classes: np.ndarray, sample: VoxelSample) -> float:
    """The share of the prior with the largest Dice over the foreground, estimated from weighted voxels.

    Args:
        scores: (n, classes), logarithms of probabilities of the sample's voxels.
        prior: (classes,), what to add for a share of 1.
        classes: (classes,), their training values.

    Returns:
        One of `PRIOR_SHARES`, the smallest among equals; 0.5 where the sample has no foreground.
    """
    foreground = np.unique(sample.labels[sample.labels > 0])
    if not foreground.size:
        return _SHARE_WITHOUT_HELD_OUT

    def mean_dice(share: float) -> float:
        predicted = classes[(scores + share * prior).argmax(axis=1)]
        total = 0.0
        for label in foreground:
            segmented, reference = predicted == label, sample.labels == label
            sizes = sample.weights[segmented].sum() + sample.weights[reference].sum()
            total += 2 * sample.weights[segmented & reference].sum() / sizes
        return total

    return max(PRIOR_SHARES, key=mean_dice)


def _fit(context: BaselineContext, model: Any) -> VoxelClassifier:
    channels = context.dataset.channels
    step = max(1, len(context.training) // _GEOMETRIES)
    geometries = [read_case(case, len(channels)).geometry for case in context.training[::step]]
    plan = plan_features(geometries, len(channels))
    learned, held_out = _samples(context, plan)
    classes, counts = np.unique(learned.labels, return_counts=True)
    classes = classes.astype(np.int16)
    if len(classes) < 2:
        only = classes if len(classes) else np.zeros(1, np.int16)
        return VoxelClassifier(channels, plan, None, only, np.zeros(1), context.workers)
    # Only fitting is shared out here: slabs are predicted in parallel, and trees summed up in a fixed order.
    with parallel_config("threading", n_jobs=context.workers):
        model.fit(learned.features, learned.labels)
    true = np.array([learned.weights[learned.labels == label].sum() for label in classes])
    prior = np.log(true / true.sum()) - np.log(counts / counts.sum())
    share = _SHARE_WITHOUT_HELD_OUT
    if held_out is not None:
        share = best_share(log_probabilities(model, held_out.features), prior, classes, held_out)
    return VoxelClassifier(channels, plan, model, classes, share * prior, context.workers)


def _samples(context: BaselineContext, plan: FeaturePlan) -> tuple[VoxelSample, VoxelSample | None]:
    """The voxels that are learned from and those that the prior's share is chosen on, from different cases."""
    quota = max(1, SAMPLE // len(context.training))
    labels = len(context.labels.values)
    learned: list[VoxelSample] = []
    held_out: list[VoxelSample] = []
    for index, example in enumerate(examples(context)):
        image = normalize(example.image, context.dataset.channels)
        sample = draw(image, example.labels, plan, labels, quota, np.random.default_rng((context.seed, index)))
        (held_out if index % _HELD_OUT == _HELD_OUT - 1 else learned).append(sample)
    return join(learned), join(held_out) if held_out else None


def _with_squares(standard: np.ndarray) -> np.ndarray:
    clipped = np.clip(standard, -_LARGEST_SCORE, _LARGEST_SCORE)
    return np.hstack([clipped, np.square(clipped)])
