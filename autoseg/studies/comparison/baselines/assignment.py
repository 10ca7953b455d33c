"""Which label each class of voxels stands for, learned from training cases.

Thresholds and clusters divide voxels into classes without names. How many voxels of each class have each label in the
training cases is all that is needed to name them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Assignment:
    """`labels`: int16 (classes,), the training value of each class; `score`: its mean Dice, 0..1."""

    labels: np.ndarray
    score: float


def count(classes: np.ndarray, labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Voxels of each class with each label.

    Args:
        classes: integers (n,), 0 to below `shape[0]`.
        labels: integers (n,); voxels with other values than 0 to below `shape[1]` (ignored ones) are not counted.
        shape: number of classes, number of labels with background.

    Returns:
        int64 of that shape.
    """
    annotated = (labels >= 0) & (labels < shape[1])
    flat = classes[annotated].astype(np.int64) * shape[1] + labels[annotated]
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


def assign(counts: np.ndarray) -> Assignment:
    """The labels of classes with which the training cases have the largest mean Dice.

    One class, whichever serves best, is background. The others begin as background too and are given labels one by
    one, each time the change that gains most, until none gains. Equal gains go to the lower class and label.

    Args:
        counts: (cases, classes, labels with background), from `count`; voxels outside all classes are left out.
    """
    classes = counts.shape[1]
    best = Assignment(np.zeros(classes, np.int16), 0.0)
    for background in range(classes):
        current = Assignment(np.zeros(classes, np.int16), 0.0)
        free = [number for number in range(classes) if number != background]
        while (better := _best_change(counts, current, free)) is not None:
            current = better
        if current.score > best.score:
            best = current
    return best


def mean_dice(counts: np.ndarray, labels: np.ndarray) -> float:
    """Mean over foreground labels of the mean Dice over cases, for classes that are given these labels.

    A case with neither voxels nor prediction of a label does not count for it; nothing to count at all gives 0.

    Args:
        counts: (cases, classes, labels with background).
        labels: (classes,) the label of each class.
    """
    given = np.eye(counts.shape[2])[labels]
    hits = np.einsum("ncl,cl->nl", counts, given)[:, 1:]
    sizes = (counts.sum(axis=2) @ given + counts.sum(axis=1))[:, 1:]
    dice = np.divide(2 * hits, sizes, out=np.zeros(hits.shape), where=sizes > 0)
    counted = (sizes > 0).sum(axis=0)
    means = dice.sum(axis=0)[counted > 0] / counted[counted > 0]
    return float(means.mean()) if means.size else 0.0


def _best_change(counts: np.ndarray, current: Assignment, free: list[int]) -> Assignment | None:
    """The assignment with one class changed that scores most, or None where no change gains."""
    best = current
    for number in free:
        for label in range(counts.shape[2]):
            if label == current.labels[number]:
                continue
            changed = current.labels.copy()
            changed[number] = label
            score = mean_dice(counts, changed)
            if score > best.score:
                best = Assignment(changed, score)
    return None if best is current else best
