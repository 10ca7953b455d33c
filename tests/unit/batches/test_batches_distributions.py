"""Every parameter that the default policy draws, against the law that nnU-Net v2.8.1 draws it by.

The laws are those of nnUNetTrainer.get_training_transforms and of batchgeneratorsv2's transforms: whether a transform
is applied is one choice a sample, its parameters are drawn for each channel anew except for noise, and for blur for
each axis anew. A "two-sided" range is BGContrast's: one half of the draws is uniform from the lower end to 1, the other
from 1 to the upper end. 6000 draws tell a range that is wrong by a twentieth, or a probability wrong by 0.02.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, kstest, uniform

from autoseg.batches.augment.policy import build_policy
from planners.augmentation import policy

DRAWS, CHANNELS = 6000, 2
CHANCE = 1e-4  # of failing with equal distributions, a comparison; the draws are keyed, so that it is fixed
PATCHES = {"3d": (40, 56, 40), "dummy 2d": (20, 256, 256), "2d": (56, 40), "long 2d": (64, 32)}
DEGREES = {"3d": 30, "dummy 2d": 180, "2d": 180, "long 2d": 15}
NOISE, BLUR, BRIGHTNESS, CONTRAST, LOW_RESOLUTION, INVERTED_GAMMA, GAMMA, MIRROR = range(1, 9)


def two_sided(low, high):
    return lambda x: 0.5 * uniform.cdf(x, low, 1 - low) + 0.5 * uniform.cdf(x, 1, high - 1)


def assert_law(values, law):
    assert kstest(values, law).pvalue > CHANCE


def assert_share(happened, probability):
    assert binomtest(int(np.sum(happened)), len(happened), probability).pvalue > CHANCE


def assert_independent(first, second):
    """Correlations of independent choices or values are normal with deviation 1 / sqrt(n)."""
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(first))


@pytest.fixture(scope="module", params=PATCHES)
def drawn(request):
    """The name of a kind of patch, and for each step of its policy what was drawn, None where it is passed over."""
    patch = PATCHES[request.param]
    made = build_policy(policy(patch))
    draws = [made.draw(np.random.default_rng((3, number)), (CHANNELS, *patch)) for number in range(DRAWS)]
    return request.param, list(zip(*draws, strict=True))


def test_the_transforms_are_nnunets_in_its_order(drawn):
    names = [plan.name for plan in policy(PATCHES[drawn[0]])]
    assert names == [
        "spatial", "gaussian-noise", "gaussian-blur", "brightness", "contrast", "low-resolution", "gamma", "gamma",
        "mirror",
    ]  # fmt: skip
    assert [plan.options["invert"] for plan in policy(PATCHES[drawn[0]]) if plan.name == "gamma"] == [True, False]


def test_each_transform_is_applied_as_often_as_nnunet_does(drawn):
    steps = [[parameters is not None for parameters in step] for step in drawn[1]]
    one_channel = 1 - 0.5**CHANNELS  # blur and low resolution are left out where no channel is chosen
    shares = {
        0: 1 - 0.8 * 0.8,
        NOISE: 0.1,
        BLUR: 0.2 * one_channel,
        BRIGHTNESS: 0.15,
        CONTRAST: 0.15,
        LOW_RESOLUTION: 0.25 * one_channel,
        INVERTED_GAMMA: 0.1,
        GAMMA: 0.3,
    }
    for step, probability in shares.items():
        assert_share(steps[step], probability)
        for other in range(step):
            assert_independent(steps[step], steps[other])


def test_scales_and_angles_are_uniform(drawn):
    name, steps = drawn
    matrices = [np.array(parameters.matrix) for parameters in steps[0] if parameters is not None]
    dimension = 3 if name == "3d" else 2
    assert {m.shape for m in matrices} == {(dimension, dimension)}
    scales = np.array([np.linalg.det(m) ** (1 / dimension) for m in matrices])
    scaled = np.abs(scales - 1) > 1e-9
    turned = np.array([abs(m[1, 0]) > 1e-12 for m in matrices])
    assert_law(scales[scaled], uniform(0.7, 0.7).cdf)
    assert_share(scaled, 0.2 / 0.36)
    assert_share(turned, 0.2 / 0.36)
    assert_share(scaled & turned, 0.04 / 0.36)
    limit = np.radians(DEGREES[name])
    law = uniform(-limit, 2 * limit).cdf
    rotations = [m / s for m, s, t in zip(matrices, scales, turned, strict=True) if t]
    if dimension == 2:
        assert_law([np.arctan2(r[1, 0], r[0, 0]) for r in rotations], law)
        return
    # of Rz Ry Rx, offsets being (axis 0, axis 1, axis 2)
    angles = [
        [np.arctan2(r[2, 1], r[2, 2]) for r in rotations],
        [-np.arcsin(r[2, 0]) for r in rotations],
        [np.arctan2(r[1, 0], r[0, 0]) for r in rotations],
    ]
    for axis in range(3):
        assert_law(angles[axis], law)
        assert_independent(angles[axis], angles[axis - 1])


def test_noise_has_one_strength_for_all_channels(drawn):
    assert_law([noise.sigma for noise in drawn[1][NOISE] if noise is not None], uniform(0, 0.1).cdf)


def test_blur_has_a_strength_of_its_own_for_each_axis_and_channel(drawn):
    name, steps = drawn
    channels = [sigmas for blur in steps[BLUR] if blur is not None for sigmas in blur.sigmas]
    chosen = np.array([sigmas for sigmas in channels if sigmas is not None])
    assert_share([sigmas is not None for sigmas in channels], 0.5 / (1 - 0.5**CHANNELS))
    assert chosen.shape[1] == len(PATCHES[name])  # slices of a flat patch are blurred across as well
    for axis in range(chosen.shape[1]):
        assert_law(chosen[:, axis], uniform(0.5, 0.5).cdf)
        assert_independent(chosen[:, axis], chosen[:, axis - 1])
    both = np.array([blur.sigmas for blur in steps[BLUR] if blur is not None and None not in blur.sigmas])
    assert_independent(both[:, 0, 0], both[:, 1, 0])


@pytest.mark.parametrize(
    ("step", "limits"),
    [(BRIGHTNESS, (0.75, 1.25)), (CONTRAST, (0.75, 1.25)), (INVERTED_GAMMA, (0.7, 1.5)), (GAMMA, (0.7, 1.5))],
)
def test_factors_are_two_sided_and_a_channels_own(drawn, step, limits):
    factors = np.array([parameters.factors for parameters in drawn[1][step] if parameters is not None])
    assert factors.shape[1] == CHANNELS
    assert_law(factors.ravel(), two_sided(*limits))
    assert_independent(factors[:, 0], factors[:, 1])


def test_the_resolution_is_a_channels_own_and_the_same_along_its_axes(drawn):
    name, steps = drawn
    channels = [zooms for low in steps[LOW_RESOLUTION] if low is not None for zooms in low.zooms]
    chosen = np.array([zooms for zooms in channels if zooms is not None])
    assert_share([zooms is not None for zooms in channels], 0.5 / (1 - 0.5**CHANNELS))
    assert_law(chosen[:, -1], uniform(0.5, 0.5).cdf)
    if name == "dummy 2d":  # slices stay
        assert np.all(chosen[:, 0] == 1)
        chosen = chosen[:, 1:]
    assert np.all(chosen == chosen[:, -1:])
    both = np.array([low.zooms for low in steps[LOW_RESOLUTION] if low is not None and None not in low.zooms])
    assert_independent(both[:, 0, -1], both[:, 1, -1])


def test_each_axis_is_mirrored_half_the_time(drawn):
    name, steps = drawn
    axes = [() if mirror is None else mirror.axes for mirror in steps[MIRROR]]
    flipped = np.array([[axis in found for axis in range(len(PATCHES[name]))] for found in axes])
    for axis in range(flipped.shape[1]):
        assert_share(flipped[:, axis], 0.5)
        assert_independent(flipped[:, axis], flipped[:, axis - 1])


@pytest.mark.parametrize(
    ("values", "law"),
    [
        (uniform(0.7, 0.65).rvs(1000, random_state=0), uniform(0.7, 0.7).cdf),  # scales up to 1.35
        (uniform(0.75, 0.5).rvs(2000, random_state=0), two_sided(0.7, 1.25)),
        (uniform(0.7, 0.8).rvs(1000, random_state=0), two_sided(0.7, 1.5)),  # one range instead of two halves
    ],
    ids=["narrower", "shifted", "one-sided"],
)
def test_a_wrong_range_would_be_seen(values, law):
    with pytest.raises(AssertionError):
        assert_law(values, law)
