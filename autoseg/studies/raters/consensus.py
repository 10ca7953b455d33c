"""Several raters' label images of a case as one: majority, shares of votes, or STAPLE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from autoseg.data.fusion import majority_vote
from autoseg.data.staple import multi_label_staple
from autoseg.metrics.bounding_boxes import BoundingBox, mask_box

ConsensusKind = Literal["majority", "soft", "staple"]

CONSENSUS_KINDS: tuple[ConsensusKind, ...] = get_args(ConsensusKind)


def majority(votes: Sequence[np.ndarray], labels: int) -> tuple[np.ndarray, int]:
    """The value that most raters gave each voxel, and how many voxels were tied.

    A tie goes to the smallest of the tied values, so that background wins against a label: with two raters the majority
    of a label is what both gave it. STAPLE does not have that leaning.

    Args:
        votes: integers 0..labels - 1 of one shape, at least one array.
        labels: number of values, background included.

    Returns:
        int16 of that shape, and the number of tied voxels.
    """
    vote = majority_vote(votes, labels)
    # A tie leaves the winner half of the votes at most: few voxels, which are counted value by value.
    doubtful = vote.disagreement >= 0.5
    values = np.stack([array[doubtful] for array in votes])
    counts = np.stack([(values == one).sum(axis=0) for one in values])  # of votes like each rater's own
    most = counts.max(axis=0)
    winner = values == vote.labels[doubtful]
    return vote.labels, int(((counts == most) & ~winner).any(axis=0).sum())


def shares(votes: Sequence[np.ndarray], foreground: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Soft labels: the share of raters who gave each voxel a label, or any label of a region.

    Args:
        votes: integers of one shape (Z, Y, X), at least one array.
        foreground: name -> values of a label or region.

    Returns:
        float32 (labels, Z, Y, X), 0..1, in the order of `foreground`.
    """
    soft = np.zeros((len(foreground), *votes[0].shape), np.float32)
    for channel, values in zip(soft, foreground.values(), strict=True):
        for array in votes:
            channel += np.isin(array, values)
    return soft / np.float32(len(votes))


def staple(votes: Sequence[np.ndarray], labels: int) -> np.ndarray:
    """The labels that STAPLE holds for the truth (`data.staple.multi_label_staple`).

    It looks at the box of all raters' foreground alone. Where it cannot decide the majority does.

    Args:
        votes: integers 0..labels - 1 of one shape, of at least two raters.
        labels: number of values, background included.

    Returns:
        int16 of that shape; background where nobody drew anything.
    """
    fused = np.zeros(votes[0].shape, np.int16)
    box = foreground_box(votes)
    if box is None:
        return fused
    inside = [array[box] for array in votes]
    estimate = multi_label_staple(inside, labels)
    fused[box] = np.where(estimate == labels, majority(inside, labels)[0], estimate)
    return fused


def foreground_box(votes: Sequence[np.ndarray]) -> BoundingBox | None:
    """The smallest box that holds what any of the arrays of one shape labels; None if there is nothing."""
    drawn = votes[0] != 0
    for array in votes[1:]:
        drawn |= array != 0
    return mask_box(drawn)
