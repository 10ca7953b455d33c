"""What is refused before a fit, and on which scale images are compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autoseg.data.image import Geometry, Image
from autoseg.errors import RegistrationError
from autoseg.tasks.registration.pair import darkness, prepare, without_padding

VOLUME = (20, 22, 24)


def image(seed: int = 0, shape: tuple[int, ...] = VOLUME, channels: int = 1, **place: object) -> Image:
    array = np.random.default_rng(seed).normal(100, 20, (channels, *shape)).astype(np.float32)
    return Image(array, Geometry(**place))  # type: ignore[arg-type]


def plane(seed: int = 0, channels: int = 1) -> Image:
    array = np.random.default_rng(seed).uniform(0, 255, (channels, 1, 30, 40)).astype(np.float32)
    return Image(array, Geometry.plane())


def test_each_channel_runs_from_0_to_1_between_its_percentiles() -> None:
    fixed = image(channels=2)
    fixed.array[1] = 7 * fixed.array[1] - 300
    fixed.array[0, 3, 3, 3] = 1e6  # one voxel does not set the scale
    pair = prepare(fixed, image(1, channels=2))
    low, high = np.percentile(fixed.array[0], (0.5, 99.5))
    expected = np.clip((fixed.array[0] - low) / (high - low), 0, 1)
    np.testing.assert_allclose(pair.fixed[0].numpy(), expected, atol=1e-5)
    assert [float(one.amin()) for one in pair.fixed] == [0.0, 0.0]
    assert [float(one.amax()) for one in pair.fixed] == [1.0, 1.0]


def test_a_scale_of_intensities_does_not_matter() -> None:
    fixed, moving = image(), image(1)
    other = replace(fixed, array=-50 + 0.01 * fixed.array)
    torch.testing.assert_close(prepare(other, moving).fixed, prepare(fixed, moving).fixed, atol=1e-4, rtol=0)


def test_padding_is_cut_off_and_the_place_in_the_world_kept() -> None:
    inner = image(origin=(5.0, 6.0, 7.0), spacing=(2.0, 1.0, 0.5))
    array = np.zeros((1, 30, 30, 30), np.float32)
    array[:, 4:24, 3:25, 2:26] = inner.array
    padded = Image(array, replace(inner.geometry, origin=(5.0 - 8, 6.0 - 3, 7.0 - 1)))
    pair = prepare(padded, inner)
    assert pair.fixed_grid == pair.moving_grid
    torch.testing.assert_close(pair.fixed, pair.moving)
    assert pair.whole_grid.shape == (30, 30, 30)


def test_a_body_in_air_is_not_padding() -> None:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (30, 32, 34)), indexing="ij")
    body = (z**2 + y**2 + x**2 < 0.7)[None].astype(np.float32)
    assert without_padding(body) == (slice(0, 30), slice(0, 32), slice(0, 34))


def test_colours_become_optical_density() -> None:
    """White glass absorbs nothing, a tenth of the light is a density of 1, whatever the brightness of the lamp."""
    colours = np.full((3, 1, 10, 10), 200.0)
    colours[:, 0, :5] = 20.0
    found = darkness(colours)
    np.testing.assert_allclose(found[0, 0, 5:], 0.0, atol=1e-6)
    np.testing.assert_allclose(found[0, 0, :5], 1.0, atol=1e-6)
    np.testing.assert_allclose(darkness(0.5 * colours), found, atol=1e-6)
    assert prepare(plane(0, 3), plane(1, 3)).fixed.shape == (1, 30, 40)


def test_masks_come_onto_the_grid_of_their_image() -> None:
    mask = Image(np.zeros((1, 10, 11, 12), np.uint8), Geometry(spacing=(2.0, 2.0, 2.0), origin=(0.5, 0.5, 0.5)))
    mask.array[0, :5] = 1
    found = prepare(image(), image(1), fixed_mask=mask).fixed_mask
    assert found is not None
    assert found[:10].all()
    assert not found[10:].any()


WRONG: dict[str, tuple[Image, Image, str]] = {
    "dimensions": (image(), plane(), "different dimensionality"),
    "channels": (image(channels=2), image(), "different numbers of channels"),
    "spacing": (image(spacing=(1.0, 0.0, 1.0)), image(), "spacing is missing"),
    "no spacing": (image(), image(spacing=(1.0, float("nan"), 1.0)), "spacing is missing"),
    "apart": (image(), image(origin=(500.0, 0.0, 0.0)), "no common field of view"),
    "constant": (image(), Image(np.ones((1, *VOLUME), np.float32), Geometry()), "constant"),
    "not a number": (Image(np.full((1, *VOLUME), np.nan, np.float32), Geometry()), image(), "without a value"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_what_cannot_be_registered_is_refused_with_the_reason(case: str) -> None:
    fixed, moving, reason = WRONG[case]
    with pytest.raises(RegistrationError, match=reason):
        prepare(fixed, moving)


def test_an_empty_mask_or_one_of_another_dimension_is_refused() -> None:
    empty = Image(np.zeros((1, *VOLUME), np.uint8), Geometry())
    with pytest.raises(RegistrationError, match="mask is empty"):
        prepare(image(), image(1), moving_mask=empty)
    with pytest.raises(RegistrationError, match="another dimensionality"):
        prepare(image(), image(1), fixed_mask=plane())
