"""The non-zero region against scipy's hole filling, nnU-Net's rule."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from autoseg.data.crop import as_slices, bounding_box, nonzero_mask


@pytest.mark.parametrize("seed", range(40))
def test_equals_scipy_on_random_arrays(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 3)), *(int(length) for length in rng.integers(1, 12, 3)))
    array = (rng.random(shape) < rng.choice([0.05, 0.5, 0.8, 0.95])).astype(rng.choice([np.uint8, np.float32]))
    margin = int(rng.integers(0, 3))
    array = np.pad(array, [(0, 0)] + [(margin, margin)] * 3)
    assert np.array_equal(nonzero_mask(array), binary_fill_holes((array != 0).any(axis=0)))


def test_hollow_sphere_is_filled_and_an_opened_one_is_not() -> None:
    z, y, x = np.ogrid[-10:11, -10:11, -10:11]
    radius = np.sqrt(z**2 + y**2 + x**2)
    shell = ((radius < 9) & (radius > 5)).astype(np.float32)[None]
    assert np.array_equal(nonzero_mask(shell), radius < 9)
    shell[0, :11, 10, 10] = 0
    assert not nonzero_mask(shell)[10, 10, 10]


def test_plane_image_has_no_holes() -> None:
    ring = np.ones((1, 1, 5, 5))
    ring[0, 0, 2, 2] = 0
    assert not nonzero_mask(ring)[0, 2, 2]


def test_channels_are_united_and_the_input_is_left_alone() -> None:
    array = np.zeros((2, 3, 3, 3))
    array[0, 0, 0, 0] = array[1, 2, 2, 2] = -1.5
    before = array.copy()
    assert nonzero_mask(array).sum() == 2
    assert np.array_equal(array, before)


def test_bounding_box_is_tight() -> None:
    mask = np.zeros((7, 8, 9), bool)
    mask[2, 3:6, 4] = mask[4, 5, 1] = True
    box = bounding_box(mask)
    assert box == ((2, 5), (3, 6), (1, 5))
    assert mask[as_slices(box)].sum() == mask.sum()


def test_bounding_box_of_nothing_is_the_whole_image() -> None:
    assert bounding_box(np.zeros((7, 8, 9), bool)) == ((0, 7), (0, 8), (0, 9))
    assert not nonzero_mask(np.zeros((1, 7, 8, 9))).any()
