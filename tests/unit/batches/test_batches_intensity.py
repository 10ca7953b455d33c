"""The deterministic twins against scipy, torch's own kernels and formulas in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch.nn.functional import interpolate

from autoseg.batches.augment.intensity import (
    BlurParameters,
    Brightness,
    Contrast,
    FactorParameters,
    Gamma,
    GaussianBlur,
    GaussianNoise,
    LowResolution,
    NoiseParameters,
    ZoomParameters,
    two_sided,
)
from autoseg.batches.augment.separable import gaussian_kernel_size
from autoseg.batches.augment.transform import Sample

SHAPES = [(19, 30, 26), (33, 47)]
RNG = np.random.default_rng(2)


def sample(shape, channels=2):
    image = torch.from_numpy(RNG.standard_normal((channels, *shape)).astype(np.float32))
    return Sample(image, torch.zeros(1, *shape, dtype=torch.int16))


def rng(number=0):
    return np.random.default_rng((11, number))


@pytest.mark.parametrize("shape", [*SHAPES, (3, 40, 5), (1, 12, 2)])
def test_blur_equals_scipys_with_the_same_kernel(shape):
    given = sample(shape)
    sigmas = (0.5, 0.81, 1.0)[: len(shape)]
    expected = given.image[0].numpy().astype(np.float64)
    for axis, sigma in enumerate(sigmas):
        radius = gaussian_kernel_size(sigma) // 2
        expected = gaussian_filter1d(expected, sigma, axis=axis, mode="mirror", radius=radius)
    untouched = given.image[1].clone()
    made = GaussianBlur().apply(given, BlurParameters((sigmas, None))).image
    assert np.allclose(made[0].numpy(), expected, atol=1e-5)
    assert torch.equal(made[1], untouched)


def test_blur_kernels_are_as_wide_as_nnunets():
    # nnU-Net v2.8.1, blur_dimension with truncate 6: the odd number nearest to 6 sigma + 0.5
    assert [gaussian_kernel_size(s) for s in (0.5, 0.58, 0.6, 0.75, 0.9, 0.91, 1.0)] == [3, 3, 5, 5, 5, 5, 7]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("zoom", [0.5, 0.63, 0.87, 0.999, 1.0])
def test_low_resolution_equals_nearest_then_linear(shape, zoom):
    given = sample(shape)
    fewer = [round(n * zoom) for n in shape]
    coarse = interpolate(given.image[:1][None], fewer, mode="nearest-exact")
    expected = interpolate(coarse, shape, mode="trilinear" if len(shape) == 3 else "bilinear")[0, 0]
    untouched = given.image[1].clone()
    made = LowResolution().apply(given, ZoomParameters(((zoom,) * len(shape), None))).image
    assert torch.allclose(made[0], expected, atol=1e-5)
    assert torch.equal(made[1], untouched)


def test_low_resolution_of_a_flat_patch_leaves_the_slices_apart():
    drawn = LowResolution(dummy_2d=True, channel_probability=1).draw(rng(), (1, 6, 20, 20))
    assert drawn.zooms[0][0] == 1
    assert drawn.zooms[0][1] == drawn.zooms[0][2] < 1
    given = sample((6, 20, 20), channels=1)
    before = given.image[:, 2].clone()
    alone = LowResolution().apply(Sample(before, given.labels[:, 2]), ZoomParameters((drawn.zooms[0][1:],)))
    assert torch.allclose(LowResolution().apply(given, drawn).image[:, 2], alone.image, atol=1e-6)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gamma_follows_its_formula_and_keeps_mean_and_deviation(shape, invert):
    given = sample(shape, channels=1)
    x = given.image[0].numpy().astype(np.float64) * (-1 if invert else 1)
    mean, deviation = x.mean(), x.std(ddof=1)
    y = ((x - x.min()) / np.ptp(x)) ** 1.37 * np.ptp(x) + x.min()
    y = (y - y.mean()) / y.std(ddof=1) * deviation + mean
    made = Gamma(invert=invert).apply(given, FactorParameters((1.37,))).image[0].numpy()
    assert np.allclose(made, y * (-1 if invert else 1), atol=1e-4)


def test_gamma_leaves_a_constant_channel_alone():
    given = Sample(torch.full((1, 5, 5, 5), 3.0), torch.zeros(1, 5, 5, 5, dtype=torch.int16))
    assert torch.equal(Gamma().apply(given, FactorParameters((1.4,))).image, torch.full((1, 5, 5, 5), 3.0))


def test_contrast_stretches_about_the_mean_within_the_former_range():
    given = sample((12, 13, 14), channels=1)
    x = given.image[0].numpy().astype(np.float64)
    expected = np.clip((x - x.mean()) * 1.2 + x.mean(), x.min(), x.max())
    assert np.allclose(Contrast().apply(given, FactorParameters((1.2,))).image[0].numpy(), expected, atol=1e-5)


def test_brightness_multiplies_each_channel_by_its_own_factor():
    given = sample((6, 7, 8))
    expected = given.image * torch.tensor([0.8, 1.2]).view(2, 1, 1, 1)
    assert torch.allclose(Brightness().apply(given, FactorParameters((0.8, 1.2))).image, expected)


def test_noise_has_its_deviation_and_depends_on_its_seed_alone():
    zero = [Sample(torch.zeros(2, 40, 40, 40), torch.zeros(1, 40, 40, 40, dtype=torch.int16)) for _ in range(3)]
    one, same, other = (
        GaussianNoise().apply(s, NoiseParameters(0.07, seed)).image for s, seed in zip(zero, (5, 5, 6), strict=True)
    )
    assert float(one.std()) == pytest.approx(0.07, rel=0.02)
    assert float(one.mean()) == pytest.approx(0, abs=0.001)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert abs(float(np.corrcoef(one[0].flatten(), one[1].flatten())[0, 1])) < 0.02


def test_noise_strength_is_uniform_in_its_range():
    sigmas = [GaussianNoise(variance=(0, 0.1)).draw(rng(n), (1, 4, 4)).sigma for n in range(3000)]
    assert np.allclose(np.quantile(sigmas, [0.1, 0.5, 0.9]), [0.01, 0.05, 0.09], atol=0.005)


def test_factors_are_below_and_above_one_equally_often():
    # nnU-Net's BGContrast((0.75, 1.25)) and ((0.7, 1.5)): half uniform in [low, 1], half uniform in [1, high]
    factors = np.array([two_sided(rng(n), (0.7, 1.5)) for n in range(6000)])
    assert np.mean(factors < 1) == pytest.approx(0.5, abs=0.02)
    assert np.allclose(np.quantile(factors, [0.01, 0.25, 0.5, 0.75, 0.99]), [0.706, 0.85, 1, 1.25, 1.49], atol=0.03)
    assert min(two_sided(rng(n), (1.1, 1.5)) for n in range(300)) >= 1.1


@pytest.mark.parametrize("transform", [GaussianBlur(), LowResolution()])
def test_each_channel_is_chosen_half_the_time(transform):
    drawn = [transform.draw(rng(n), (2, 8, 8, 8)) for n in range(2000)]
    assert np.mean([d is None for d in drawn]) == pytest.approx(0.25, abs=0.04)
    values = [v for d in drawn if d is not None for v in next(iter(vars(d).values()))]
    chosen = [v for v in values if v is not None]
    assert len(chosen) / 4000 == pytest.approx(0.5, abs=0.04)
    assert np.mean(chosen) == pytest.approx(0.75, abs=0.02)
    axes_differ = len(set(chosen[0])) > 1
    assert axes_differ == isinstance(transform, GaussianBlur)
