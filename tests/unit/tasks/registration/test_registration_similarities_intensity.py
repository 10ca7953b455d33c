"""Differences, global correlation and gradient fields against numpy and hand-made images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.similarities.gradient_fields import gradient_fields
from autoseg.tasks.registration.similarities.intensity import ncc, sad, ssd


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two images (1, 5, 6, 7) and weights (5, 6, 7), a third of them zero."""
    rng = np.random.default_rng(0)
    weights = np.where(rng.random((5, 6, 7)) < 1 / 3, 0, rng.random((5, 6, 7)))
    return rng.random((1, 5, 6, 7)), rng.random((1, 5, 6, 7)), weights


def tensors(*arrays: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def ramp(angle: float, shape: tuple[int, int] = (8, 9), steepness: float = 0.05) -> Tensor:
    """A plane (1, Y, X) that rises in the direction of an angle, in degrees from the x axis."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij")
    return steepness * (math.cos(math.radians(angle)) * x + math.sin(math.radians(angle)) * y)[None]


def test_differences_are_those_of_numpy(images: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    fixed, warped, weights = images
    difference = (warped - fixed)[0]
    assert float(ssd()(*tensors(fixed, warped))) == pytest.approx(np.mean(difference**2))
    assert float(sad()(*tensors(fixed, warped))) == pytest.approx(np.mean(np.abs(difference)))
    assert float(ssd()(*tensors(*images))) == pytest.approx(np.average(difference**2, weights=weights))
    assert float(sad()(*tensors(*images))) == pytest.approx(np.average(np.abs(difference), weights=weights))


def test_correlation_is_that_of_numpy(images: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    fixed, warped, weights = images
    expected = np.corrcoef(fixed.ravel(), warped.ravel())[0, 1]
    assert float(ncc()(*tensors(fixed, warped))) == pytest.approx(-expected)
    covariance = np.cov(fixed.ravel(), warped.ravel(), aweights=weights.ravel())
    expected = covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])
    assert float(ncc()(*tensors(*images))) == pytest.approx(-expected)


def test_correlation_is_perfect_for_any_linear_change_and_keeps_digits_far_from_zero() -> None:
    fixed = torch.rand(1, 30, 31, generator=torch.Generator().manual_seed(1))
    assert float(ncc()(fixed, 3 * fixed + 1000)) == pytest.approx(-1, abs=1e-6)
    assert float(ncc()(fixed, -3 * fixed)) == pytest.approx(1, abs=1e-6)


def test_sampled_points_count_like_voxels(images: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    for factory in (ssd, sad, ncc):
        whole = factory()(*tensors(*images))
        points = factory()(*(array.reshape(*array.shape[:-3], -1) for array in tensors(*images)))
        torch.testing.assert_close(points, whole)


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 180])
def test_gradient_fields_measure_the_angle_between_ramps(angle: float) -> None:
    for noise in (0.1, 1.0):
        loss = gradient_fields(noise=noise)(ramp(0), ramp(angle, steepness=0.02))
        expected = 1 - math.cos(math.radians(angle)) ** 2 / (1 + noise**2) ** 2
        assert float(loss) == pytest.approx(expected, abs=1e-5)


def test_parallel_gradients_are_perfect_and_orthogonal_ones_are_not_alike_at_all() -> None:
    sharp = gradient_fields(noise=1e-2)
    assert float(sharp(ramp(20), -2 * ramp(20) + 1)) == pytest.approx(0, abs=1e-3)
    assert float(sharp(ramp(20), ramp(110))) == pytest.approx(1, abs=1e-9)


def test_gradient_fields_are_those_of_numpy(images: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    fixed, warped, _ = images
    fields = []
    for image in (fixed[0], warped[0]):
        gradient = np.stack(np.gradient(image))  # one-sided at the border
        square = (gradient**2).sum(0)
        fields.append(gradient / np.sqrt(square + 0.25 * square.mean()))
    expected = np.mean(1 - (fields[0] * fields[1]).sum(0) ** 2)
    assert float(gradient_fields(noise=0.5)(*tensors(fixed, warped))) == pytest.approx(expected, rel=1e-6)


def test_gradients_at_the_edge_of_a_mask_look_inwards_only() -> None:
    mask = torch.zeros(8, 9, dtype=torch.bool)
    mask[2:6, 3:7] = True
    fixed, warped = ramp(0), ramp(60)
    inside = gradient_fields()(fixed[:, 2:6, 3:7], warped[:, 2:6, 3:7])
    torch.testing.assert_close(gradient_fields()(fixed, warped, mask), inside)


def test_gradient_fields_need_a_level_of_noise() -> None:
    with pytest.raises(ConfigurationError, match="level of noise"):
        gradient_fields(noise=0)
