"""Sampled voxel coordinates: they lie in their class, none twice, as many as nnU-Net's rule says."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.data.labels import OUTSIDE, LabelScheme
from autoseg.preprocessing.class_locations import ANNOTATED, class_locations

PLAIN = LabelScheme(names={"background": 0, "small": 1, "large": 2, "absent": 3})


def labels(shape: tuple[int, int, int] = (20, 40, 50)) -> np.ndarray:
    array = np.zeros(shape, np.int8)
    array[:, :, 10:] = 2
    array[3:5, 6:9, :10] = 1
    array[0, :, :5] = OUTSIDE
    return array


def test_small_classes_are_listed_whole_and_absent_ones_are_empty():
    array = labels()

    locations = class_locations(array, PLAIN)

    assert list(locations) == ["small", "large", "absent"]
    assert sorted(map(tuple, locations["small"].tolist())) == sorted(map(tuple, np.argwhere(array == 1).tolist()))
    assert locations["absent"].shape == (0, 3)
    assert locations["small"].dtype == np.int16


def test_large_classes_are_sampled_without_repetition():
    array = labels()

    large = class_locations(array, PLAIN)["large"]

    assert len(large) == 10_000  # of 32 000
    assert len(np.unique(large, axis=0)) == len(large)
    assert (array[tuple(large.T)] == 2).all()
    # uniform: the mean place is that of the class, within five standard errors
    error = np.abs(large.mean(axis=0) - np.argwhere(array == 2).mean(axis=0))
    assert (error < 5 * np.array(array.shape) / np.sqrt(12 * len(large))).all()


def test_at_least_one_percent_is_sampled():
    locations = class_locations(np.ones((60, 150, 150), np.int8), PLAIN)

    assert len(locations["small"]) == 13_500


def test_draws_are_the_same_every_time():
    first, second = class_locations(labels(), PLAIN), class_locations(labels(), PLAIN)

    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_regions_are_unions():
    scheme = LabelScheme(names={"background": 0}, regions={"whole": (1, 2), "core": (2,)}, region_order=(1, 2))
    array = labels()

    locations = class_locations(array, scheme)

    assert list(locations) == ["whole", "core"]
    assert set(np.unique(array[tuple(locations["whole"].T)])) == {1, 2}
    assert set(np.unique(array[tuple(locations["core"].T)])) == {2}


def test_an_ignore_label_adds_the_annotated_voxels():
    scheme = LabelScheme(names={"background": 0, "a": 1}, ignore=2)
    array = labels((4, 10, 20))

    locations = class_locations(array, scheme)

    assert list(locations) == ["a", ANNOTATED]
    assert len(locations[ANNOTATED]) == np.count_nonzero(array != 2)
    assert set(np.unique(array[tuple(locations[ANNOTATED].T)])) == {OUTSIDE, 0, 1}


def test_long_axes_get_wider_integers():
    locations = class_locations(np.ones((1, 1, 40_000), np.int8), LabelScheme(names={"background": 0, "a": 1}))

    assert locations["a"].dtype == np.int32
    assert locations["a"][:, 2].max() > np.iinfo(np.int16).max


@pytest.mark.parametrize("value", [0, OUTSIDE])
def test_no_foreground_gives_empty_places(value):
    locations = class_locations(np.full((3, 4, 5), value, np.int8), PLAIN)

    assert all(rows.shape == (0, 3) for rows in locations.values())
