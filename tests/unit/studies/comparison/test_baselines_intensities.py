"""Normalised intensities and the contract of a segmentation."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.data.image import Geometry, Image
from autoseg.data.labels import LabelScheme
from autoseg.errors import PluginError
from autoseg.studies.comparison.baselines.intensities import Normalized, normalize
from autoseg.studies.comparison.baselines.protocol import Segmentation, check_segmentation


def normalized(array: np.ndarray, channel: str = "MR") -> Normalized:
    return normalize(Image(array, Geometry()), (channel,))


def test_scale_and_offset_of_a_scanner_vanish() -> None:
    array = np.random.default_rng(0).normal(100, 20, (1, 6, 8, 8)).astype(np.float32)
    one = normalized(array)
    other = normalized(7 * array + 3000)
    np.testing.assert_allclose(one.array, other.array, atol=1e-3)
    assert abs(one.array.mean()) < 1e-4
    assert one.array.std() == pytest.approx(1, abs=1e-4)


def test_one_bright_voxel_changes_little() -> None:
    array = np.random.default_rng(0).normal(100, 20, (1, 10, 10, 10)).astype(np.float32)
    spoilt = array.copy()
    spoilt[0, 5, 5, 5] = 1e6
    difference = np.abs(normalized(spoilt).array - normalized(array).array)
    difference[0, 5, 5, 5] = 0
    assert difference.max() < 0.1


def test_only_the_non_zero_region_counts() -> None:
    array = np.zeros((1, 1, 20, 20), np.float32)
    array[0, 0, 5:15, 5:15] = np.random.default_rng(0).normal(500, 10, (10, 10))
    found = normalized(array)
    assert np.count_nonzero(found.inside) == 100
    assert found.array[0][found.inside].std() == pytest.approx(1, abs=1e-4)


def test_hounsfield_units_stay_comparable() -> None:
    array = np.array([-1000.0, 0.0, 40.0, 300.0], np.float32).repeat(100).reshape(1, 1, 20, 20)
    found = normalized(array, "ct").array
    np.testing.assert_allclose(np.unique(found), [-10, 0, 0.4, 3], rtol=1e-6)


def test_constant_empty_and_infinite_images_are_finite() -> None:
    broken = np.full((1, 2, 3, 3), np.nan)
    broken[0, 1] = np.inf
    for array in (np.full((1, 2, 3, 3), 7), np.zeros((1, 2, 3, 3)), broken):
        assert np.isfinite(normalized(array).array).all()


def test_the_image_itself_is_not_changed() -> None:
    array = np.random.default_rng(0).normal(size=(1, 2, 3, 3)).astype(np.float32)
    kept = array.copy()
    normalized(array)
    np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (Segmentation(np.zeros((1, 4, 4), np.float32)), "do not fit"),
        (Segmentation(np.zeros((4, 4), np.uint8)), "do not fit"),
        (Segmentation(np.full((1, 4, 4), 2, np.uint8)), "no labels"),
        (Segmentation(np.full((1, 4, 4), -1, np.int16)), "no labels"),
        (Segmentation(np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4))), "disagreement map"),
    ],
)
def test_what_is_no_segmentation_is_refused(segmentation: Segmentation, message: str) -> None:
    scheme = LabelScheme(names={"background": 0, "organ": 5})
    with pytest.raises(PluginError, match=message):
        check_segmentation(segmentation, (1, 4, 4), scheme, where="method, case")


def test_what_is_a_segmentation_passes() -> None:
    scheme = LabelScheme(names={"background": 0, "organ": 5})
    good = Segmentation(np.ones((1, 4, 4), np.uint8), np.zeros((1, 4, 4), np.float32))
    check_segmentation(good, (1, 4, 4), scheme, where="method, case")
