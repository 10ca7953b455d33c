"""Sums over windows, local correlation and MIND against loops over voxels."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor

from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.similarities.local_ncc import FixedWindows, local_ncc, local_ncc_gradient
from autoseg.tasks.registration.similarities.mind import VARIANCE_LIMITS, mind, mind_ssc
from autoseg.tasks.registration.similarities.neighbourhoods import box_counts, box_sum, shifted

SHAPES = [(9, 8), (5, 6, 4)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_mask(shape: tuple[int, ...]) -> Tensor:
    """Weights (*S): some zero, some one, some between."""
    weights = random(*shape, seed=9)
    return torch.where(weights < 0.3, 0, torch.where(weights > 0.6, 1, weights))


def cube(centre: tuple[int, ...], shape: tuple[int, ...], radius: int) -> list[tuple[int, ...]]:
    """The voxels within a radius along each axis that lie on the grid."""
    ranges = (range(max(0, c - radius), min(n, c + radius + 1)) for c, n in zip(centre, shape, strict=True))
    return list(product(*ranges))


def correlation_by_loops(
    fixed: np.ndarray, warped: np.ndarray, weights: np.ndarray, radius: int, signed: bool
) -> float:
    total = 0.0
    for x in np.ndindex(fixed.shape):
        window = tuple(np.array(cube(x, fixed.shape, radius)).T)
        if weights[x] > 0:
            f, w, m = fixed[window], warped[window], weights[window]
            f, w = f - np.average(f, weights=m), w - np.average(w, weights=m)
            covariance = np.average(f * w, weights=m)
            spread = (np.average(f * f, weights=m) + 1e-5) * (np.average(w * w, weights=m) + 1e-5)
            total += weights[x] * covariance * (abs(covariance) if signed else covariance) / spread
    return -total / weights.sum()


def mind_by_loops(
    image: np.ndarray, weights: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]], radius: int
) -> np.ndarray:
    def usable(y: np.ndarray) -> bool:
        return all(0 <= k < n for k, n in zip(y, image.shape, strict=True)) and weights[tuple(y)] > 0

    distances = np.zeros((len(pairs), *image.shape))
    for x in np.ndindex(image.shape):
        for k, (one, other) in enumerate(pairs):
            squares = [
                (image[tuple(y + one)] - image[tuple(y + other)]) ** 2
                for y in map(np.array, cube(x, image.shape, radius))
                if usable(y + one) and usable(y + other)
            ]
            distances[(k, *x)] = np.mean(squares) if squares else 0
    variance = distances.mean(0)
    usual = np.average(variance, weights=weights)
    entries = np.exp(-distances / np.clip(variance, VARIANCE_LIMITS[0] * usual, VARIANCE_LIMITS[1] * usual))
    return entries / entries.max(0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [0, 1, 2, 3, 7])
def test_box_sums_are_those_of_scipy(shape: tuple[int, ...], radius: int) -> None:
    maps = random(2, *shape)
    width = 2 * radius + 1
    expected = [uniform_filter(one, width, mode="constant") * width ** len(shape) for one in maps.numpy()]
    np.testing.assert_allclose(box_sum(maps, radius).numpy(), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(box_counts(shape, radius, maps), box_sum(torch.ones_like(maps), radius)[0])


def test_box_sums_have_their_gradient_and_take_any_layout_of_memory() -> None:
    maps = random(2, 4, 5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda one: box_sum(one, 1), maps)
    assert torch.autograd.gradgradcheck(lambda one: box_sum(one, 1).square(), maps)
    turned = random(4, 3, 5, 2).permute(3, 0, 2, 1)
    torch.testing.assert_close(box_sum(turned, 1), box_sum(turned.contiguous(), 1))


def test_shifts_fill_with_zeros() -> None:
    image = torch.arange(1, 7).reshape(2, 3)
    assert shifted(image, (1, -1)).tolist() == [[0, 4, 5], [0, 0, 0]]
    assert shifted(image, (0, 5)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert shifted(image > 3, (1, 0)).tolist() == [[True, True, True], [False, False, False]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("signed", [False, True])
def test_local_correlation_is_that_of_each_window(shape: tuple[int, ...], signed: bool) -> None:
    fixed, warped = random(1, *shape), random(1, *shape, seed=1)
    for radius in (1, 2):
        for weights in (torch.ones(shape, dtype=torch.float64), random_mask(shape)):
            expected = correlation_by_loops(fixed[0].numpy(), warped[0].numpy(), weights.numpy(), radius, signed)
            loss = local_ncc(radius=radius, signed=signed)(fixed, warped, weights)
            assert float(loss) == pytest.approx(expected, rel=1e-9)


def test_local_correlation_does_not_mind_local_contrast() -> None:
    fixed = random(1, 20, 22)
    brightness = torch.linspace(0, 3, 22, dtype=torch.float64)
    changed = fixed * torch.where(torch.arange(22) < 11, -1.0, 2.0) + brightness
    assert float(local_ncc(radius=1)(fixed, fixed)) == pytest.approx(-1, abs=1e-3)
    assert float(local_ncc(radius=1)(fixed, changed)) < -0.8
    assert float(local_ncc(radius=1, signed=True)(fixed, -fixed)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(2, 12, 13), (1, 7, 8, 9)])
@pytest.mark.parametrize("masked", ["no mask", "mask", "weights"])
@pytest.mark.parametrize("signed", [False, True])
def test_the_gradient_in_closed_form_is_that_of_autograd(
    shape: tuple[int, ...], masked: str, signed: bool, dtype: torch.dtype
) -> None:
    fixed, warped = random(*shape).to(dtype), random(*shape, seed=1).to(dtype).requires_grad_()
    weights = random_mask(shape[1:])
    mask = {"no mask": None, "mask": weights > 0, "weights": weights}[masked]
    loss = local_ncc(signed=signed)(fixed, warped, mask)
    (gradient,) = torch.autograd.grad(loss, warped)
    closed_loss, closed = local_ncc_gradient(fixed, warped, mask, 2, signed=signed)
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-6}[dtype]
    torch.testing.assert_close(closed_loss, loss.detach(), rtol=tolerance * 10, atol=tolerance)
    torch.testing.assert_close(closed, gradient, rtol=tolerance * 10, atol=tolerance * float(gradient.abs().max()) * 10)
    assert not closed.requires_grad


def test_windows_of_a_fixed_image_serve_many_warped_ones() -> None:
    fixed, mask = random(1, 9, 10), random_mask((9, 10)) > 0
    windows = FixedWindows.of(fixed, mask, 1)
    for seed in (1, 2):
        warped = random(1, 9, 10, seed=seed)
        loss, gradient = local_ncc_gradient(fixed, warped, mask, 1)
        torch.testing.assert_close(windows.gradient(warped), (loss, gradient))
        torch.testing.assert_close(windows.loss(warped), loss)


def test_single_precision_keeps_its_digits_on_a_bright_image_of_low_contrast() -> None:
    fixed, warped = 0.9 + 0.02 * random(1, 40, 41), 0.9 + 0.02 * random(1, 40, 41, seed=1)
    precise, gradient = local_ncc_gradient(fixed, warped)
    loss, single = local_ncc_gradient(fixed.float(), warped.float())
    assert float(loss) == pytest.approx(float(precise), rel=1e-4)
    torch.testing.assert_close(single.double(), gradient, rtol=1e-3, atol=1e-3 * float(gradient.abs().max()))


@pytest.mark.parametrize("options", [{"radius": 0}, {"flatness": 0.0}])
def test_windows_without_neighbours_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="needs a window"):
        local_ncc(**options)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["mind", "mind-ssc"])
def test_descriptors_are_those_of_the_papers(name: str, masked: bool, shape: tuple[int, ...]) -> None:
    radius, dilation = {"mind": (1, 1), "mind-ssc": (1, 2)}[name]
    axes = np.eye(len(shape), dtype=int) * dilation
    around = [*axes, *-axes]
    if name == "mind":
        pairs = [(np.zeros(len(shape), dtype=int), offset) for offset in around]
    else:
        corners = [(a, b) for k, a in enumerate(around) for b in around[:k]]
        pairs = [(a, b) for a, b in corners if ((a - b) ** 2).sum() == 2 * dilation**2]
        assert len(pairs) == {2: 4, 3: 12}[len(shape)]
    weights = random_mask(shape) if masked else torch.ones(shape, dtype=torch.float64)
    fixed, warped = random(1, *shape), random(1, *shape, seed=1)
    one, other = (mind_by_loops(image[0].numpy(), weights.numpy(), pairs, radius) for image in (fixed, warped))
    expected = np.average(((one - other) ** 2).mean(0), weights=weights.numpy())
    factory = {"mind": mind, "mind-ssc": mind_ssc}[name]
    loss = factory(radius=radius, dilation=dilation)(fixed, warped, weights if masked else None)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_descriptors_do_not_depend_on_contrast() -> None:
    fixed = random(1, 12, 13)
    for factory in (mind, mind_ssc):
        assert float(factory()(fixed, 0.7 - 0.5 * fixed)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("options", [{"radius": -1}, {"dilation": 0}])
def test_descriptors_without_neighbours_are_refused(options: dict[str, int]) -> None:
    for factory in (mind, mind_ssc):
        with pytest.raises(ConfigurationError, match="no such neighbourhood"):
            factory(**options)
