"""Confusion counts against brute force and against nnU-Net's numbers."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.errors import ImageError
from autoseg.metrics.confusion import Counts, comparable, confusion, count


def _count(prediction: np.ndarray, reference: np.ndarray, values: tuple[int, ...], ignore: int | None) -> Counts:
    prediction, reference, ignored = comparable(prediction, reference, ignore)
    return count(confusion(prediction, reference, ignored), values)


# tp, fp, fn, tn of nnunetv2 2.8.1, `compute_metrics` on the arrays of `test_counts_equal_nnunet`.
NNUNET = [
    (None, (1,), (14, 70, 70, 182)),
    (None, (2,), (21, 63, 63, 189)),
    (None, (1, 2), (84, 84, 84, 84)),
    (3, (1,), (14, 56, 70, 112)),
    (3, (2,), (21, 42, 63, 126)),
    (3, (1, 2), (84, 49, 84, 35)),
]


@pytest.mark.parametrize(("ignore", "values", "expected"), NNUNET)
def test_counts_equal_nnunet(ignore: int | None, values: tuple[int, ...], expected: tuple[int, ...]) -> None:
    z, y, x = np.indices((6, 7, 8))
    prediction = ((3 * z + 5 * y + 7 * x) % 4).astype(np.uint8)
    reference = ((2 * z + 5 * y + 7 * x) // 2 % 4).astype(np.uint8)
    assert _count(prediction, reference, values, ignore) == Counts(*expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint16, np.int64, np.uint64])
@pytest.mark.parametrize("ignore", [None, 4])
def test_counts_equal_boolean_algebra(dtype: type, ignore: int | None) -> None:
    rng = np.random.default_rng(0)
    prediction, reference = rng.integers(0, 4, (2, 9, 40, 300)).astype(dtype)  # larger than one slab
    reference[2:5, 7] = 4
    for values in ((1,), (3,), (1, 3), (2, 2)):
        ours, theirs = np.isin(prediction, values), np.isin(reference, values)
        kept = np.ones(ours.shape, bool) if ignore is None else reference != ignore
        expected = Counts(
            tp=int((ours & theirs & kept).sum()),
            fp=int((ours & ~theirs & kept).sum()),
            fn=int((~ours & theirs & kept).sum()),
            tn=int((~ours & ~theirs & kept).sum()),
        )
        assert _count(prediction, reference, values, ignore) == expected


def test_voxels_outside_the_foreground_box_are_true_negatives() -> None:
    prediction = np.zeros((50, 50, 50), np.uint8)
    reference = prediction.copy()
    prediction[10, 10, 10] = reference[10, 10, 11] = 1
    assert _count(prediction, reference, (1,), None) == Counts(tp=0, fp=1, fn=1, tn=50**3 - 2)


def test_images_without_foreground_and_without_voxels() -> None:
    empty = np.zeros((3, 4, 5), np.uint8)
    assert _count(empty, empty, (1,), None) == Counts(0, 0, 0, 60)
    assert _count(empty[:0], empty[:0], (1,), None) == Counts(0, 0, 0, 0)


def test_everything_ignored_leaves_nothing() -> None:
    prediction = np.ones((2, 3, 4), np.uint8)
    assert _count(prediction, np.full((2, 3, 4), 2, np.uint8), (1,), 2) == Counts(0, 0, 0, 0)


def test_outside_is_background() -> None:
    reference = np.array([[[-1, -1, 0, 1]]], np.int16)
    prediction = np.array([[[0, 1, 0, 1]]], np.int16)
    assert _count(prediction, reference, (1,), None) == Counts(tp=1, fp=1, fn=0, tn=2)


def test_masks_are_labels() -> None:
    mask = np.eye(4, dtype=bool)[None]
    assert _count(mask, mask, (1,), None) == Counts(tp=4, fp=0, fn=0, tn=12)


def test_inputs_are_not_changed() -> None:
    prediction, reference = np.array([[[1, -1, 2]]], np.int16), np.array([[[2, 1, 1]]], np.int16)
    copies = prediction.copy(), reference.copy()
    _count(prediction, reference, (1,), 2)
    np.testing.assert_array_equal(prediction, copies[0])
    np.testing.assert_array_equal(reference, copies[1])


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        (np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 3), np.uint8), "different shapes"),
        (np.zeros((2, 2, 2), np.float32), np.zeros((2, 2, 2), np.uint8), "values are no labels"),
        (np.full((2, 2, 2), -3), np.zeros((2, 2, 2), np.uint8), "negative labels"),
    ],
)
def test_what_cannot_be_compared_is_refused(prediction: np.ndarray, reference: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        comparable(prediction, reference)
