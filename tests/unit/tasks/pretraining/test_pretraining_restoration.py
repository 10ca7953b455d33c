"""The transformations of Models Genesis: what each keeps and what it changes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from blob_images import blobs

from autoseg.tasks.pretraining.restoration import (
    Corruption,
    corrupt,
    in_painting,
    local_shuffling,
    nonlinear_intensity,
    out_painting,
)

SHAPES = [(1, 24, 20), (2, 12, 16, 10), (1, 1, 16, 16)]
TRANSFORMATIONS = [nonlinear_intensity, local_shuffling, in_painting, out_painting, corrupt]


def _image(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return blobs(np.random.default_rng(seed), shape[1:], shape[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("change", TRANSFORMATIONS)
def test_shape_type_and_range_stay_and_the_image_is_left_alone(change: object, shape: tuple[int, ...]) -> None:
    image = _image(shape)
    before = image.copy()
    for seed in range(8):
        result = change(image, np.random.default_rng(seed))  # type: ignore[operator]
        assert result.shape == shape
        assert result.dtype == np.float32
        assert not np.shares_memory(result, image)
        for channel, original in zip(result, image, strict=True):
            assert original.min() - 1e-5 <= channel.min() <= channel.max() <= original.max() + 1e-5
        assert np.array_equal(result, change(image, np.random.default_rng(seed)))  # type: ignore[operator]
    assert np.array_equal(image, before)


@pytest.mark.parametrize("falling", [0.0, 1.0])
def test_the_map_of_values_is_monotone_from_end_to_end(falling: float) -> None:
    image = np.linspace(-3, 5, 400, dtype=np.float32).reshape(1, 20, 20)
    for seed in range(50):
        values = nonlinear_intensity(image, np.random.default_rng(seed), falling=falling).ravel()
        steps = np.diff(values) * (-1 if falling else 1)
        assert steps.min() >= -1e-5
        assert sorted((values[0], values[-1])) == pytest.approx(np.percentile(image, (0.5, 99.5)), abs=1e-4)


def test_the_map_of_values_is_a_cubic_bezier_curve() -> None:
    image = np.linspace(0, 1, 101, dtype=np.float32).reshape(1, 1, 101)
    points = np.random.default_rng(4).random((2, 2))
    low, high = np.percentile(image, (0.5, 99.5))
    found = nonlinear_intensity(image, np.random.default_rng(4), falling=0).ravel()
    for t in (0.1, 0.35, 0.8):  # de Casteljau's construction
        row = [np.zeros(2), *points, np.ones(2)]
        while len(row) > 1:
            row = [(1 - t) * a + t * b for a, b in pairwise(row)]
        x, y = low + row[0] * (high - low)
        assert np.interp(x, image.ravel(), found) == pytest.approx(y, abs=5e-3)


def test_constant_images_stay() -> None:
    image = np.full((1, 8, 8), 3, dtype=np.float32)
    for change in TRANSFORMATIONS:
        assert np.array_equal(change(image, np.random.default_rng(0)), image)  # type: ignore[operator]


@pytest.mark.parametrize("shape", SHAPES)
def test_shuffling_moves_voxels_a_window_at_most(shape: tuple[int, ...]) -> None:
    numbers = np.arange(np.prod(shape[1:]), dtype=np.float32).reshape(1, *shape[1:])
    moved = False
    for seed in range(10):
        result = local_shuffling(numbers, np.random.default_rng(seed), extent=0.2, passes=2)
        assert np.array_equal(np.sort(result.ravel()), numbers.ravel())
        came_from = np.stack(np.unravel_index(result[0].astype(int), shape[1:]))
        distance = np.abs(came_from - np.indices(shape[1:])).reshape(len(shape) - 1, -1).max(1)
        longest = [max(2, round(n * 0.2)) if n > 1 else 1 for n in shape[1:]]
        assert (distance <= [2 * (n - 1) for n in longest]).all()  # a window in each of two passes
        moved |= bool(distance.any())
    assert moved


def test_shuffling_keeps_channels_together() -> None:
    image = _image((1, 16, 16))
    pair = np.concatenate((image, -image))
    result = local_shuffling(pair, np.random.default_rng(3))
    assert np.array_equal(result[0], -result[1])


def test_holes_are_inside_and_windows_are_kept() -> None:
    image = _image((1, 24, 24, 24))
    for seed in range(5):
        holes = in_painting(image, np.random.default_rng(seed), boxes=1) != image
        windows = out_painting(image, np.random.default_rng(seed), boxes=1) == image
        for changed, low, high in ((holes, 1 / 6, 1 / 3), (windows, 3 / 7, 4 / 7)):
            lengths = np.ptp(np.argwhere(changed[0]), axis=0) + 1
            assert (lengths >= round(24 * low) - 1).all()
            assert (lengths <= round(24 * high) + 1).all()
            assert changed.sum() == pytest.approx(lengths.prod(), rel=0.02)


def test_transformations_are_drawn_as_often_as_asked() -> None:
    image = _image((1, 12, 12))
    never = Corruption(nonlinear=0, shuffling=0, painting=0)
    assert np.array_equal(corrupt(image, np.random.default_rng(0), never), image)
    half = never.with_(painting=0.5)
    changed = [not np.array_equal(corrupt(image, np.random.default_rng(s), half), image) for s in range(400)]
    assert np.mean(changed) == pytest.approx(0.5, abs=0.08)
    with pytest.raises(ValueError, match="is more than"):
        Corruption(hole_extent=(0.5, 0.2))


def test_a_bright_voxel_does_not_set_the_range() -> None:
    image = np.linspace(0, 1, 900, dtype=np.float32).reshape(1, 30, 30)
    image[0, 7, 9] = 1000
    painted = out_painting(image, np.random.default_rng(0))
    assert painted[painted != image].max() <= 1
    assert nonlinear_intensity(image, np.random.default_rng(0)).max() <= 1
