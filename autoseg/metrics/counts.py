"""Confusion of two label images, counted once for all labels and regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from autoseg.data.labels import OUTSIDE
from autoseg.errors import ImageError

_SLAB_VOXELS = 1 << 16  # voxels counted at a time: the index array stays in the cache and small beside the images


@dataclass(frozen=True)
class Counts:
    """Voxels of one label or region: true and false positives and negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def n_pred(self) -> int:
        """Voxels of the prediction."""
        return self.tp + self.fp

    @property
    def n_ref(self) -> int:
        """Voxels of the reference."""
        return self.tp + self.fn


def comparable(
    prediction: np.ndarray, reference: np.ndarray, ignore: int | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Two label images made fit to be compared, and the number of voxels that are left out.

    Ignored voxels become background in both images; so does `OUTSIDE` (-1), which lies outside the region that was
    looked at.

    Args:
        prediction, reference: training values of any integer type, of one shape.
        ignore: value of the reference's voxels without annotation.

    Raises:
        ImageError: different shapes, values that are no integers, or negative ones other than -1.
    """
    if prediction.shape != reference.shape:
        raise ImageError(
            "prediction and reference have different shapes", got=prediction.shape, expected=reference.shape
        )
    prediction, reference = _non_negative(prediction, "prediction"), _non_negative(reference, "reference")
    if ignore is None:
        return prediction, reference, 0
    ignored = reference == ignore
    count = int(np.count_nonzero(ignored))
    if count == 0:
        return prediction, reference, 0
    return np.where(ignored, 0, prediction), np.where(ignored, 0, reference), count


def confusion(prediction: np.ndarray, reference: np.ndarray, ignored: int = 0) -> np.ndarray:
    """Voxels for each pair of values, from one pass over the box that holds both foregrounds.

    Args:
        prediction, reference: label images as `comparable` returns them.
        ignored: voxels to take out again from background against background.

    Returns:
        int64 array (K, K), `[p, r]` counting voxels predicted as p whose reference is r; K is one more than the
        largest value that occurs. Empty images give zeros.
    """
    box = joint_box(prediction, reference)
    matrix = np.zeros((1, 1), np.int64)
    inside = 0
    if box is not None:
        prediction_box, reference_box = prediction[box], reference[box]
        inside = prediction_box.size
        classes = 1 + max(int(prediction_box.max()), int(reference_box.max()))
        counts = np.zeros(classes * classes, np.int64)
        step = max(1, _SLAB_VOXELS * len(prediction_box) // inside)
        for start in range(0, len(prediction_box), step):
            index = np.multiply(prediction_box[start : start + step], classes, dtype=np.intp, casting="unsafe")
            np.add(index, reference_box[start : start + step], out=index, casting="unsafe")
            counts += np.bincount(index.ravel(), minlength=counts.size)
        matrix = counts.reshape(classes, classes)
    matrix[0, 0] += prediction.size - inside - ignored
    return matrix


def count(matrix: np.ndarray, values: Sequence[int]) -> Counts:
    """Counts of the union of `values` (a label, or a region of several), from a `confusion` matrix.

    Values beyond the matrix occur nowhere and add nothing.
    """
    inside = [value for value in dict.fromkeys(values) if value < len(matrix)]
    tp = int(matrix[np.ix_(inside, inside)].sum())
    fp = int(matrix[inside].sum()) - tp
    fn = int(matrix[:, inside].sum()) - tp
    return Counts(tp=tp, fp=fp, fn=fn, tn=int(matrix.sum()) - tp - fp - fn)


def joint_box(prediction: np.ndarray, reference: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest box that holds the non-zero voxels of both arrays; None if there are none."""
    mask = (prediction != 0) | (reference != 0)
    found = ndimage.find_objects(mask.view(np.uint8), max_label=1)
    return found[0] if found else None


def _non_negative(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.dtype == bool:
        return labels.view(np.uint8)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ImageError(f"the {name}'s values are no labels", got=labels.dtype, expected="an integer type")
    lowest = int(labels.min(initial=0))
    if lowest < OUTSIDE:
        raise ImageError(f"the {name} has negative labels", got=lowest, expected=f"at least {OUTSIDE}")
    return np.maximum(labels, 0) if lowest < 0 else labels
