"""Several segmentations of one image as one: the majority, and where they disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.errors import ConfigurationError

_SLAB_VOXELS = 2**22  # counted at once, so that the counts of many labels stay small


@dataclass(frozen=True)
class FusedLabels:
    """Several segmentations as one.

    Attributes:
        labels: int16, of the votes' shape.
        disagreement: float32 of that shape, the share of votes that name another label; 1 where there is no vote.
    """

    labels: np.ndarray
    disagreement: np.ndarray


def majority_vote(votes: Sequence[np.ndarray], labels: int) -> FusedLabels:
    """The label that most votes name in each voxel (Heckemann et al., 2006, doi:10.1016/j.neuroimage.2006.05.061).

    Args:
        votes: integer arrays of one shape (Z, Y, X), at least one; a value outside 0..labels - 1 abstains.
        labels: how many values a voxel may have, background included.

    Returns:
        The vote (a draw goes to the smallest value, a voxel without any vote to 0), and the share of votes that name
        another label (1 where there is none).

    Raises:
        ConfigurationError: no votes, or of different shapes.
    """
    shapes = {array.shape for array in votes}
    if len(shapes) != 1:
        raise ConfigurationError(
            "votes need arrays of one shape", where="majority vote", got=sorted(shapes), expected="at least one array"
        )
    (shape,) = shapes
    fused = np.zeros(shape, np.int16)
    disagreement = np.ones(shape, np.float32)
    rows = max(1, _SLAB_VOXELS // max(1, int(np.prod(shape[1:]))))
    for start in range(0, shape[0], rows):
        slab = slice(start, start + rows)
        counts = np.zeros((labels, *fused[slab].shape), np.uint16)
        for value in range(labels):
            for array in votes:
                counts[value] += array[slab] == value
        fused[slab] = counts.argmax(0)
        given = counts.sum(0, dtype=np.float32)
        np.divide(given - counts.max(0), given, out=disagreement[slab], where=given > 0)
    return FusedLabels(fused, disagreement)
