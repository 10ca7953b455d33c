"""Confusion of two label images, counted once for all labels and regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.labels import OUTSIDE
from autoseg.errors import ImageError
from autoseg.metrics.bounding_boxes import BoundingBox, Extents, joint_box

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64, Integer

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
    prediction: Bool[np.ndarray, "*space"] | Integer[np.ndarray, "*space"],
    reference: Bool[np.ndarray, "*space"] | Integer[np.ndarray, "*space"],
    ignore: int | None = None,
) -> tuple[Integer[np.ndarray, "*space"], Integer[np.ndarray, "*space"], int]:
    """Two label images made fit to be compared, and the number of voxels that are left out.

    Ignored voxels become background in both images; so does `OUTSIDE` (-1), which lies outside the region that was
    looked at.

    Args:
        prediction, reference: training values of any integer type, or masks, of one shape.
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


@dataclass(frozen=True)
class Confusion:
    """Two label images in one look.

    Attributes:
        matrix: int64 (K, K), `[p, r]` counting voxels predicted as p whose reference is r; K is one more than the
            largest value that occurs.
        boxes: value -> the smallest box that holds its voxels of both images; background and values that occur
            nowhere are left out.
    """

    matrix: Int64[np.ndarray, "value value"]
    boxes: dict[int, BoundingBox]


def confusion(
    prediction: Bool[np.ndarray, "*space"] | Integer[np.ndarray, "*space"],
    reference: Bool[np.ndarray, "*space"] | Integer[np.ndarray, "*space"],
    ignored: int = 0,
) -> Confusion:
    """Voxels for each pair of values and the box of each value, from one pass over the box of both foregrounds.

    Args:
        prediction, reference: label images as `comparable` returns them.
        ignored: voxels to take out again from background against background.
    """
    box = joint_box(prediction, reference)
    if box is None:
        return Confusion(np.full((1, 1), prediction.size - ignored, np.int64), {})
    prediction_box, reference_box = prediction[box], reference[box]
    classes = 1 + max(int(prediction_box.max()), int(reference_box.max()))
    counts = np.zeros(classes * classes, np.int64)
    extents = Extents(classes, prediction_box.shape)
    step = max(1, _SLAB_VOXELS * len(prediction_box) // prediction_box.size)
    for start in range(0, len(prediction_box), step):
        rows = slice(start, start + step)
        predicted, expected = prediction_box[rows].astype(np.intp), reference_box[rows].astype(np.intp)
        extents.add(predicted, expected, start)
        predicted *= classes
        predicted += expected
        counts += np.bincount(predicted.ravel(), minlength=counts.size)
    matrix = counts.reshape(classes, classes)
    matrix[0, 0] += prediction.size - prediction_box.size - ignored
    return Confusion(matrix, {value: _moved(extent, box) for value, extent in extents.boxes().items()})


def count(confused: Confusion, values: Sequence[int]) -> Counts:
    """Counts of the union of `values` (a label, or a region of several).

    Values that are larger than any in the images occur nowhere and add nothing.
    """
    matrix = confused.matrix
    inside = [value for value in dict.fromkeys(values) if value < len(matrix)]
    tp = int(matrix[np.ix_(inside, inside)].sum())
    fp = int(matrix[inside].sum()) - tp
    fn = int(matrix[:, inside].sum()) - tp
    return Counts(tp=tp, fp=fp, fn=fn, tn=int(matrix.sum()) - tp - fp - fn)


def _non_negative(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.dtype == bool:
        return labels.view(np.uint8)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ImageError(f"the {name}'s values are no labels", got=labels.dtype, expected="an integer type")
    lowest = int(labels.min(initial=0))
    if lowest < OUTSIDE:
        raise ImageError(f"the {name} has negative labels", got=lowest, expected=f"at least {OUTSIDE}")
    return np.maximum(labels, 0) if lowest < 0 else labels


def _moved(box: BoundingBox, outer: BoundingBox) -> BoundingBox:
    """A box inside another one, as a box of the image."""
    return tuple(slice(o.start + b.start, o.start + b.stop) for b, o in zip(box, outer, strict=True))
