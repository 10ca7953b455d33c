"""The way back: what went through preprocessing lands on the voxels that it came from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from autoseg.data.image import Geometry, Image
from autoseg.preprocessing.prepare import preprocess_case
from autoseg.preprocessing.undo import restore_labels, restore_probabilities


def off_centre_case() -> tuple[Image, np.ndarray]:
    """A body in a corner of the image, every voxel of it with another label pattern."""
    labels = np.zeros((12, 20, 26), np.int16)
    labels[2:9, 5:18, 3:15] = np.arange(7 * 13 * 12).reshape(7, 13, 12) % 3 + 1
    return Image((labels > 0).astype(np.float32)[None], Geometry(spacing=(1.0, 2.0, 1.5))), labels


@pytest.mark.parametrize("transpose", list(itertools.permutations(range(3))))
def test_labels_return_to_their_voxels(transpose, make_plan):
    image, labels = off_centre_case()
    spacing = tuple(image.geometry.spacing[axis] for axis in transpose)  # no resampling
    plan = make_plan(spacing, transpose, ("none",))

    case = preprocess_case(image, labels, plan, plan.configurations["test"])
    restored = restore_labels(case.labels, case.properties)

    assert case.properties.shape_before_resampling == case.labels.shape
    assert restored.dtype == case.labels.dtype
    np.testing.assert_array_equal(restored, labels)


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_probabilities_return_to_their_voxels(transpose, regions, make_plan):
    image, labels = off_centre_case()
    plan = make_plan(tuple(image.geometry.spacing[axis] for axis in transpose), transpose, ("none",))
    case = preprocess_case(image, labels, plan, plan.configurations["test"])
    one_hot = np.stack([case.labels == value for value in (0, 1, 2, 3)]).astype(np.float32)

    restored = restore_probabilities(one_hot, case.properties, regions=regions)

    np.testing.assert_array_equal(restored[1:], np.stack([labels == value for value in (1, 2, 3)]))
    np.testing.assert_array_equal(restored[0], 0 if regions else labels == 0)
