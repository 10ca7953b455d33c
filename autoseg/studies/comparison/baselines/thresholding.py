"""Thresholds on one channel's histogram, found anew in each image, with classes named by training cases."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from skimage.filters import threshold_multiotsu

from autoseg.data.dataset import Case
from autoseg.data.files import read_case
from autoseg.log import counted
from autoseg.studies.comparison.baselines.assignment import assign, count
from autoseg.studies.comparison.baselines.examples import examples
from autoseg.studies.comparison.baselines.intensities import Normalized, normalize
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Segmentation

BINS = 256
"""Bins of the histogram between the tails of an image's intensities."""

CLASSES = (3, 4)
"""Numbers of classes that `multi_otsu` tries; the search over thresholds grows with the power of their number."""


@dataclass(frozen=True)
class Thresholds:
    """Otsu's thresholds on one channel.

    Attributes:
        channels: names of the channels.
        channel: which one is thresholded.
        labels: int16 (classes,), the label of each class, dark to bright.
    """

    channels: tuple[str, ...]
    channel: int
    labels: np.ndarray

    @property
    def note(self) -> str:
        """What was chosen."""
        return f"channel {self.channels[self.channel]}, {counted(len(self.labels), 'class')}"

    def predict(self, case: Case) -> Segmentation:
        """Labels int16; background outside the non-zero region and in an image with fewer grey values than classes."""
        image = normalize(read_case(case, len(self.channels)), self.channels)
        segmentation: np.ndarray = np.zeros(image.inside.shape, np.int16)
        classes = grey_classes(image, self.channel, len(self.labels))
        if classes is not None:
            segmentation[image.inside] = self.labels[classes]
        return Segmentation(segmentation)


def otsu(context: BaselineContext) -> Thresholds:
    """One threshold per case by Otsu's method; channel, side and label by Dice on the training cases.

    The threshold parts the grey values of a case's non-zero region so that the variance between the parts is largest.
    Source: Otsu 1979, "A threshold selection method from gray-level histograms", IEEE Transactions on Systems, Man,
    and Cybernetics 9(1).
    """
    return _fit(context, (2,))


def multi_otsu(context: BaselineContext) -> Thresholds:
    """Two or three thresholds per case by Otsu's method; channel, classes and labels by Dice on the training cases.

    As `otsu`, with as many classes of `CLASSES` as serve the training cases best, the fewest among equals.
    Source: Liao, Chen and Chung 2001, "A fast algorithm for multilevel thresholding", Journal of Information Science
    and Engineering 17(5).
    """
    return _fit(context, CLASSES)


def grey_classes(image: Normalized, channel: int, classes: int) -> np.ndarray | None:
    """The class of each voxel inside the non-zero region, 0 darkest, int64 (n,).

    None where the region has fewer different grey values (bins of the histogram) than classes.
    """
    values = image.array[channel][image.inside]
    if not values.size or values.min() == values.max():
        return None
    frequency, edges = np.histogram(values, bins=BINS)
    if np.count_nonzero(frequency) < classes:
        return None
    centres = (edges[:-1] + edges[1:]) / 2
    thresholds = threshold_multiotsu(hist=(frequency, centres), classes=classes)
    # The bin of a threshold is the last of the class below it.
    upper = edges[np.searchsorted(centres, thresholds) + 1]
    return np.searchsorted(upper, values, side="right")


def _fit(context: BaselineContext, numbers: tuple[int, ...]) -> Thresholds:
    """The channel and number of classes with the best assignment, the first among equals."""
    channels = context.dataset.channels
    labels = len(context.labels.values)
    counts = defaultdict(list)
    for example in examples(context):
        image = normalize(example.image, channels)
        reference = example.labels[image.inside]
        for classes in numbers:
            for channel in range(len(channels)):
                grey = grey_classes(image, channel, classes)
                empty = np.zeros((classes, labels), np.int64)
                counted = empty if grey is None else count(grey, reference, (classes, labels))
                counts[classes, channel].append(counted)
    chosen = {key: assign(np.stack(cases)) for key, cases in counts.items()}
    classes, channel = max(chosen, key=lambda key: chosen[key].score)
    return Thresholds(channels, channel, chosen[classes, channel].labels)
