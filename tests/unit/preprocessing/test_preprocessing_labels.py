"""Resampling of labels against an argmax over scikit-image's linear resize of every label."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.transform import resize as skimage_resize

from autoseg.preprocessing.resample_labels import resize_labels

ISOTROPIC = (1.0, 1.0, 1.0)


def reference(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Whole-array votes of every label; a tie goes to the nearest label if it won, else to the smallest."""
    values = np.unique(labels)
    options = {"mode": "edge", "anti_aliasing": False}
    votes = np.stack([skimage_resize((labels == value).astype(float), shape, 1, **options) for value in values])
    nearest = skimage_resize(labels.astype(float), shape, 0, **options).astype(labels.dtype)
    of_nearest = np.take_along_axis(votes, np.searchsorted(values, nearest)[None], axis=0)[0]
    return np.where(of_nearest == votes.max(axis=0), nearest, values[votes.argmax(axis=0)])


def random_labels(shape: tuple[int, ...], count: int, sigma: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(count, *shape))
    return np.stack([gaussian_filter(part, sigma) for part in noise]).argmax(axis=0).astype(np.int16) - 1


@pytest.mark.parametrize("count", [2, 5, 12])
@pytest.mark.parametrize(
    ("shape_in", "shape_out"),
    [
        ((9, 12, 7), (15, 10, 7)),
        ((8, 8, 8), (16, 16, 16)),  # even factors tie at every boundary
        ((8, 7, 9), (24, 21, 27)),
        ((20, 18, 22), (10, 9, 11)),
        ((1, 20, 21), (1, 33, 8)),
    ],
)
@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_equals_votes_over_the_whole_array(shape_in, shape_out, sigma, count):
    labels = random_labels(shape_in, count, sigma, seed=count)

    result = resize_labels(labels, shape_out, spacing_from=ISOTROPIC, spacing_to=ISOTROPIC)

    assert result.dtype == labels.dtype
    np.testing.assert_array_equal(result, reference(labels, shape_out))


@pytest.mark.parametrize("length", [3, 5, 9])
def test_coarse_axis_takes_the_nearest_slice(length):
    labels = random_labels((5, 10, 11), 3, 1.0, seed=0)

    result = resize_labels(labels, (length, 17, 8), spacing_from=(5, 1, 1), spacing_to=ISOTROPIC)

    slices = np.stack([reference(part, (17, 8)) for part in labels])
    nearest = np.minimum(np.floor((np.arange(length) + 0.5) * 5 / length), 4).astype(int)
    np.testing.assert_array_equal(result, slices[nearest])


def test_equals_fixed_numbers_of_batchgenerators():
    # batchgenerators 0.25.5, resize_segmentation(labels, (4, 5), order=1)
    labels = np.array([[[0, 1, 1], [2, 2, 0], [3, 0, 1]]], np.int8)
    expected = [[0, 0, 1, 1, 1], [2, 2, 2, 0, 0], [2, 2, 2, 0, 0], [3, 3, 0, 1, 1]]

    result = resize_labels(labels, (1, 4, 5), spacing_from=ISOTROPIC, spacing_to=ISOTROPIC)

    assert result[0].tolist() == expected


def test_same_shape_is_the_same_array():
    labels = random_labels((4, 5, 6), 3, 1.0, seed=0)

    assert resize_labels(labels, (4, 5, 6), spacing_from=(9, 1, 1), spacing_to=ISOTROPIC) is labels


def test_input_is_left_alone_and_no_value_is_invented():
    labels = np.where(random_labels((6, 7, 8), 2, 1.0, seed=0) > -1, np.int8(7), np.int8(2))
    before = labels.copy()

    result = resize_labels(labels, (13, 15, 9), spacing_from=ISOTROPIC, spacing_to=ISOTROPIC)

    assert set(np.unique(result)) <= {2, 7}
    np.testing.assert_array_equal(labels, before)
