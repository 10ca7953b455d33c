"""Which slice tells most, on volumes where it can be said beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.data.image import Geometry
from autoseg.report.slices import field_of_view, telling_slice, turn

SHAPE = (8, 10, 12)


def cube(z: slice, y: slice, x: slice, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    array = np.zeros(shape, np.uint8)
    array[z, y, x] = 1
    return array


def test_slice_with_the_largest_disagreement_is_chosen_along_each_axis() -> None:
    reference = cube(slice(2, 6), slice(2, 8), slice(2, 10))
    prediction = reference.copy()
    prediction[4, 3:7, 5:9] = 0  # a hole of 4 x 4 voxels in slice z = 4
    prediction[3, 3, 5] = 0  # and one voxel elsewhere, which makes (z, y, x) = (4, 3, 5) worst along every axis
    assert telling_slice(reference, prediction, 0) == (4, 16)
    assert telling_slice(reference, prediction, 1) == (3, 5)
    assert telling_slice(reference, prediction, 2) == (5, 5)


def test_wrong_class_counts_as_disagreement() -> None:
    reference = cube(slice(2, 6), slice(2, 8), slice(2, 10))
    prediction = reference.copy()
    prediction[5][prediction[5] == 1] = 2
    assert telling_slice(reference, prediction, 0) == (5, 48)


def test_ignored_voxels_do_not_count() -> None:
    reference = cube(slice(2, 6), slice(2, 8), slice(2, 10))
    prediction = reference.copy()
    prediction[4] = 0
    prediction[2, 2, 2] = 0
    ignored = np.zeros(SHAPE, bool)
    ignored[4] = True
    assert telling_slice(reference, prediction, 0, ignored) == (2, 1)


def test_without_disagreement_the_largest_foreground_is_chosen() -> None:
    reference = cube(slice(1, 3), slice(2, 4), slice(2, 4))
    reference[6, 1:9, 1:9] = 1
    assert telling_slice(reference, reference, 0) == (6, 0)


def test_without_foreground_the_middle_is_chosen() -> None:
    empty = np.zeros(SHAPE, np.uint8)
    assert [telling_slice(empty, empty, axis) for axis in range(3)] == [(4, 0), (5, 0), (6, 0)]


@pytest.mark.parametrize(
    ("direction", "corner"),
    [
        # World and array axes in the order (z, y, x); worlds point to the head, the back and the left.
        (((1, 0, 0), (0, 1, 0), (0, 0, 1)), (7, 0, 0)),  # the last slice is the head: it must come first
        (((-1, 0, 0), (0, 1, 0), (0, 0, 1)), (0, 0, 0)),
        (((1, 0, 0), (0, -1, 0), (0, 0, -1)), (7, 9, 11)),  # as NIfTI files mostly lie
        (((0, 1, 0), (1, 0, 0), (0, 0, 1)), (0, 9, 0)),  # coronal slices: array axis y runs to the head
    ],
)
def test_turning_puts_head_up_and_back_down(direction, corner) -> None:
    image = np.zeros((1, *SHAPE), np.float32)
    image[(0, *corner)] = 1
    labels = image[0].astype(np.uint8)
    view = turn(image, labels, labels, Geometry(spacing=(3.0, 2.0, 1.0), direction=direction))
    # The voxel that lies nearest to the head, to the front and to the right ends in the first corner.
    assert view.image[0, 0, 0, 0] == 1
    assert view.reference[0, 0, 0] == view.prediction[0, 0, 0] == 1
    assert view.planes == ("axial", "coronal", "sagittal")
    assert view.spacing == ((2.0, 3.0, 1.0) if direction[0][1] else (3.0, 2.0, 1.0))


def test_plane_images_are_not_turned() -> None:
    image = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    labels = np.zeros((1, 3, 4), np.uint8)
    view = turn(image, labels, labels, Geometry.plane())
    np.testing.assert_array_equal(view.image, image)


def test_field_of_view_surrounds_the_foreground_and_stays_inside() -> None:
    shape = (20, 100, 100)
    labels = cube(slice(8, 12), slice(40, 60), slice(0, 20), shape)
    view = turn(labels[None], labels, labels, Geometry(direction=((-1, 0, 0), (0, 1, 0), (0, 0, 1))))
    # 20 voxels grow by half of them on both sides, here to 40; the 4 slices grow to half of that, 20.
    assert field_of_view(view, 0) == (slice(30, 70), slice(0, 30))
    assert field_of_view(view, 1) == (slice(0, 20), slice(0, 30))
    empty = np.zeros_like(labels)
    assert field_of_view(turn(empty[None], empty, empty, Geometry()), 2) == (slice(None), slice(None))
