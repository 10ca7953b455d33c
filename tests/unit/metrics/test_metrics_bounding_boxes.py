"""Boxes of labels against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import find_objects

from autoseg.metrics.bounding_boxes import joint_box
from autoseg.metrics.confusion import confusion
from autoseg.metrics.score import score_labels


def _scattered(seed: int, shape: tuple[int, ...], largest: int, voxels: int = 150) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int16)
    labels[tuple(rng.integers(0, side, voxels) for side in shape)] = rng.integers(1, largest + 1, voxels)
    return labels


@pytest.mark.parametrize("largest", [1, 8, 9, 16, 33, 64, 65, 130])  # up to and beyond each width of a machine word
@pytest.mark.parametrize("shape", [(9, 30, 40), (70, 60), (500,), (3, 300, 300)])  # the last in several slabs
def test_boxes_of_labels_equal_scipy(largest: int, shape: tuple[int, ...]) -> None:
    prediction, reference = _scattered(1, shape, largest), _scattered(2, shape, largest)
    expected = {}
    for value in range(1, largest + 1):
        (box,) = find_objects(((prediction == value) | (reference == value)).astype(int)) or [None]
        if box is not None:
            expected[value] = box
    assert confusion(prediction, reference).boxes == expected


@pytest.mark.parametrize("shape", [(9, 10, 11), (20, 30), (50,)])
def test_the_joint_box_equals_scipy(shape: tuple[int, ...]) -> None:
    prediction, reference = _scattered(3, shape, 1, voxels=2), _scattered(4, shape, 1, voxels=2)
    (expected,) = find_objects(prediction | reference)
    assert joint_box(prediction, reference) == expected


@pytest.mark.parametrize("shape", [(4, 5, 6), (0, 5, 6), (4, 0, 6), (7,)])
def test_nothing_has_no_box(shape: tuple[int, ...]) -> None:
    empty = np.zeros(shape, np.uint8)
    assert joint_box(empty, empty) is None
    assert confusion(empty, empty).boxes == {}


def test_many_labels_are_scored_as_each_by_itself() -> None:
    prediction, reference = _scattered(5, (6, 20, 20), 70, voxels=900), _scattered(6, (6, 20, 20), 70, voxels=900)
    together = score_labels(
        prediction, reference, {str(value): (value,) for value in range(1, 71)}, (2, 1, 1), dimension=3
    )
    for value in (1, 33, 64, 65, 70):
        alone = score_labels(prediction == value, reference == value, {"it": (1,)}, (2, 1, 1), dimension=3)["it"]
        assert together[str(value)] == pytest.approx(alone)
