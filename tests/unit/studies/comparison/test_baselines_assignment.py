"""Classes of voxels get the labels that serve the training cases best."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.studies.comparison.baselines.assignment import assign, count, mean_dice


def test_voxels_are_counted_by_class_and_label() -> None:
    classes, labels = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 2])
    np.testing.assert_array_equal(count(classes, labels, (3, 2)), [[1, 1], [0, 2], [0, 0]])


def test_mean_dice_by_hand() -> None:
    # Case 1: class 1 holds 6 of 8 voxels of label 1 and 2 others; case 2 has neither label nor class.
    counts = np.array([[[10, 2], [2, 6]], [[20, 0], [0, 0]]])
    assert mean_dice(counts, np.array([0, 1])) == pytest.approx(2 * 6 / (8 + 8))
    assert mean_dice(counts, np.array([0, 0])) == 0
    # In case 2 the label is now missed: it counts, with 0.
    counts[1, 0, 1] = 1
    assert mean_dice(counts, np.array([0, 1])) == pytest.approx(0.375)


def test_pure_classes_get_their_labels_whatever_their_order() -> None:
    pure = np.array([[0, 0, 7], [50, 0, 0], [0, 5, 0], [0, 4, 0]])
    found = assign(pure[None])
    np.testing.assert_array_equal(found.labels, [2, 0, 1, 1])
    assert found.score == 1.0


def test_a_class_that_would_spoil_a_label_stays_background() -> None:
    counts = np.array([[[900, 0], [100, 10], [0, 40]]])
    np.testing.assert_array_equal(assign(counts).labels, [0, 0, 1])


def test_the_larger_class_is_not_always_background() -> None:
    counts = np.array([[[30, 5], [10, 80]]])
    np.testing.assert_array_equal(assign(counts).labels, [0, 1])
    np.testing.assert_array_equal(assign(counts[:, ::-1]).labels, [1, 0])


def test_without_foreground_all_is_background() -> None:
    found = assign(np.array([[[5, 0, 0], [3, 0, 0]]]))
    np.testing.assert_array_equal(found.labels, [0, 0])
    assert found.score == 0


def test_no_single_change_is_better_than_the_result() -> None:
    counts = np.random.default_rng(0).integers(0, 50, size=(6, 5, 4))
    found = assign(counts)
    assert found.score == pytest.approx(mean_dice(counts, found.labels))
    alone = [np.where(np.arange(5) == one, label, 0) for one in range(5) for label in range(1, 4)]
    assert all(found.score >= mean_dice(counts, labels) for labels in alone)
