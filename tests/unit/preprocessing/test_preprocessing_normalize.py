"""Normalisation against its definitions on arrays with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.data.image import IntensityStatistics
from autoseg.errors import ImageError
from autoseg.plugins import names, resolve
from autoseg.preprocessing import normalize

STATISTICS = IntensityStatistics(
    mean=40.0, median=35.0, std=20.0, min=-900.0, max=900.0, percentile_00_5=-100.0, percentile_99_5=200.0
)


def image(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 1, -1)


def test_ct_clips_to_the_percentiles_then_standardises():
    result = normalize.ct(image([-1000, -100, 40, 60, 200, 3000]), None, STATISTICS)

    np.testing.assert_allclose(result.ravel(), [-7, -7, 0, 1, 8, 8])


def test_z_score_gives_mean_zero_and_deviation_one():
    array = np.random.default_rng(0).normal(300, 70, size=(5, 6, 7)).astype(np.float32)

    result = normalize.z_score(array, None, STATISTICS)

    assert abs(result.mean()) < 1e-5
    assert result.std() == pytest.approx(1, abs=1e-5)


def test_z_score_with_a_mask_looks_only_inside_it():
    mask = np.array([False, True, True, False]).reshape(1, 1, 4)

    result = normalize.z_score(image([0, 10, 30, 0]), mask, STATISTICS)

    np.testing.assert_allclose(result.ravel(), [0, -1, 1, 0])


def test_z_score_with_an_empty_mask_changes_nothing():
    result = normalize.z_score(image([0, 10]), np.zeros((1, 1, 2), bool), STATISTICS)

    np.testing.assert_array_equal(result.ravel(), [0, 10])


def test_rescale_maps_the_range_to_zero_and_one():
    np.testing.assert_allclose(normalize.rescale(image([-5, 0, 15]), None, STATISTICS).ravel(), [0, 0.25, 1])


def test_rgb_maps_bytes_to_zero_and_one():
    np.testing.assert_allclose(normalize.rgb(image([0, 51, 255]), None, STATISTICS).ravel(), [0, 0.2, 1])


@pytest.mark.parametrize("values", [[-1, 5], [0, 256]])
def test_rgb_refuses_values_that_are_no_bytes(values):
    with pytest.raises(ImageError, match="8-bit colour but has other values"):
        normalize.rgb(image(values), None, STATISTICS)


def test_none_changes_nothing():
    np.testing.assert_array_equal(normalize.none(image([-5, 0, 15]), None, STATISTICS).ravel(), [-5, 0, 15])


@pytest.mark.parametrize("name", names("normalization"))
def test_every_normalization_keeps_shape_and_dtype_and_survives_a_constant_image(name):
    result = resolve("normalization", name)(np.full((2, 3, 4), 7, np.float32), None, STATISTICS)

    assert result.shape == (2, 3, 4)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
