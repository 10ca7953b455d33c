"""Holes and centroids: against SciPy on random masks, and on shapes whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from autoseg.metrics.score import SHAPE, score_labels
from autoseg.metrics.shape import centroid, centroid_shift, hole_voxels


@pytest.mark.parametrize("shape", [(7, 9, 8), (300, 3, 4), (1, 5, 5), (2, 9, 9), (14, 11), (30, 2)])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.9])
def test_holes_and_centroids_of_random_masks_are_scipys(shape: tuple[int, ...], share: float) -> None:
    generator = np.random.default_rng(len(shape) + int(10 * share))
    for _ in range(5):
        mask = generator.random(shape) < share
        assert hole_voxels(mask) == int((ndimage.binary_fill_holes(mask) & ~mask).sum())
        assert centroid(mask) == pytest.approx(ndimage.center_of_mass(mask))
        assert hole_voxels(mask.T) == hole_voxels(mask)


def test_the_masks_may_be_views() -> None:
    mask = np.random.default_rng(2).random((12, 10, 8)) < 0.6
    assert centroid(mask[::2, :, ::-1]) == pytest.approx(ndimage.center_of_mass(mask[::2, :, ::-1]))


def test_a_hole_in_a_slice_is_open_in_space() -> None:
    ball = np.ones((5, 7, 7), bool)
    ball[2, 2:5, 3] = False
    assert hole_voxels(ball) == 3
    assert hole_voxels(ball[2]) == 3
    ball[3:, 3, 3] = False
    assert hole_voxels(ball) == 0


def test_another_label_is_no_hole() -> None:
    labels = np.ones((5, 7, 7), np.int16)
    labels[2, 2:5, 3] = 2
    assert hole_voxels(labels == 1) == 3
    assert hole_voxels(labels == 1, labels) == 0
    labels[2, 3, 3] = 0
    assert hole_voxels(labels == 1, labels) == 1


def test_empty_masks_have_neither() -> None:
    empty = np.zeros((4, 4, 4), bool)
    assert hole_voxels(empty) == 0
    assert centroid(empty) is None
    assert centroid_shift(empty, ~empty, (1, 1, 1)) is None
    assert centroid_shift(~empty, empty, (1, 1, 1)) is None


def test_a_shift_is_in_millimetres_along_the_axes() -> None:
    reference = np.zeros((10, 12, 14), bool)
    reference[2:4, 3:6, 4:8] = True
    prediction = np.roll(reference, (1, -2, 3), (0, 1, 2))
    assert centroid_shift(prediction, reference, (3.0, 0.5, 0.25)) == pytest.approx((3.0, -1.0, 0.75))
    assert centroid_shift(np.array([False, True]), np.array([True, False]), (2.0,)) == (2.0,)


def test_a_case_has_them_beside_its_metrics() -> None:
    reference = np.zeros((9, 12, 12), np.int16)
    reference[2:7, 2:7, 2:7] = 1
    prediction = np.roll(reference, (2, 1), (1, 2))
    prediction[4, 6, 5] = 0
    reference[4, 4, 4] = 2
    row = score_labels(prediction, reference, {"it": (1,)}, (2.0, 1.0, 1.0), dimension=3)["it"]
    assert (row["hole_voxels_pred"], row["hole_voxels_ref"]) == (1, 0)
    shift = np.subtract(ndimage.center_of_mass(prediction == 1), ndimage.center_of_mass(reference == 1)) * (2, 1, 1)
    assert [row[key] for key in ("shift_z", "shift_y", "shift_x")] == pytest.approx(shift)
    assert row["centroid_distance"] == pytest.approx(np.linalg.norm(shift))
    missed = score_labels(0 * reference, reference, {"it": (1,)}, (2.0, 1.0, 1.0), dimension=3)["it"]
    assert [missed[key] for key in SHAPE] == [0, 0, None, None, None, None]


def test_planes_have_no_shift_along_z() -> None:
    reference = np.zeros((1, 12, 12), np.uint8)
    reference[0, 2:7, 2:7] = 1
    reference[0, 4, 4] = 0
    row = score_labels(np.roll(reference, 3, 2), reference, {"1": (1,)}, (999.0, 0.5, 0.5), dimension=2)["1"]
    assert [row[key] for key in SHAPE] == [1, 1, 1.5, None, 0, 1.5]
