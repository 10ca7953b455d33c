"""What costs nothing: methods that do not look at the image. A method that is not above them has learned nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoseg.data.dataset import Case
from autoseg.data.files import read_case
from autoseg.studies.comparison.baselines.examples import examples
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Segmentation


@dataclass(frozen=True)
class Constant:
    """One label for every voxel."""

    label: int
    channels: int

    def predict(self, case: Case) -> Segmentation:
        """The label everywhere, int16."""
        return Segmentation(np.full(read_case(case, self.channels).shape, self.label, np.int16))


def empty(context: BaselineContext) -> Constant:
    """Background everywhere: what finding nothing scores.

    It shows how a metric treats empty predictions and how many cases have nothing to find.
    Source: Reinke et al. 2024, "Understanding metric-related pitfalls in image analysis validation", Nature Methods 21.
    """
    return Constant(0, len(context.dataset.channels))


def most_frequent(context: BaselineContext) -> Constant:
    """The label with most training voxels everywhere: the same as empty where background is the largest.

    Ignored voxels do not count; the lower of two equally frequent labels is taken.
    Source: Holte 1993, "Very simple classification rules perform well on most commonly used datasets", Machine
    Learning 11 (the rule "0R", below which no classifier may fall).
    """
    labels = len(context.labels.values)
    voxels = sum(np.bincount(one.labels.ravel(), minlength=labels)[:labels] for one in examples(context))
    return Constant(int(np.argmax(voxels)), len(context.dataset.channels))
