"""Tiles: coverage, evenness, importance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from autoseg.inference.tiling import (
    count_tiles,
    gaussian_axes,
    importance,
    mirror_combinations,
    place_tiles,
    tile_starts,
)


@pytest.mark.parametrize("image", [(40, 56, 40), (41, 100, 57), (300, 64, 129)])
@pytest.mark.parametrize("overlap", [0.5, 0.25])
def test_tiles_cover_every_voxel_and_overlap_as_asked(image: tuple[int, ...], overlap: float) -> None:
    tile = (40, 56, 40)
    covered = np.zeros(image, int)
    starts = tile_starts(image, tile, overlap)
    for start in starts:
        box = tuple(slice(a, a + size) for a, size in zip(start, tile, strict=True))
        assert covered[box].shape == tile
        covered[box] += 1
    assert covered.min() >= 1
    for axis in range(3):
        along = sorted({start[axis] for start in starts})
        assert all(b - a <= tile[axis] * (1 - overlap) + 1 for a, b in pairwise(along))


def test_starts_equal_nnunets() -> None:
    # compute_steps_for_sliding_window of nnU-Net v2.8.1 for this image, tile and half overlap
    assert sorted({z for z, _, _ in tile_starts((30, 224, 224), (28, 192, 192))}) == [0, 2]
    assert sorted({y for _, y, _ in tile_starts((30, 512, 512), (28, 192, 192))}) == [0, 80, 160, 240, 320]


def test_a_tile_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        tile_starts((10, 10), (12, 8))


def test_tiles_are_counted_after_padding_and_a_2d_tile_goes_through_all_slices() -> None:
    assert count_tiles((10, 20, 20), (16, 32, 32)) == 1
    assert count_tiles((7, 20, 40), (32, 32)) == 7 * 2


@pytest.mark.parametrize("tile", [(16, 24, 16), (33, 20)])
def test_the_importance_is_a_gaussian_around_the_centre(tile: tuple[int, ...]) -> None:
    delta = np.zeros(tile)
    delta[tuple(size // 2 for size in tile)] = 1
    expected = gaussian_filter(delta, [size / 8 for size in tile], mode="constant")
    found = importance(tile)
    assert tuple(found.shape) == tile
    assert found.max() == 1
    assert found.min() > 0
    # Relative, down to the corners: where tiles end together at an edge of the image, ratios of tiny numbers decide.
    np.testing.assert_allclose(found.numpy(), expected / expected.max(), rtol=1e-5)
    product = torch.ones(())
    for vector in gaussian_axes(tile):
        product = product.unsqueeze(-1) * vector
    torch.testing.assert_close(found, product)


def test_mirror_combinations_are_all_subsets() -> None:
    assert mirror_combinations(()) == [()]
    assert sorted(mirror_combinations((0, 2))) == [(), (0,), (0, 2), (2,)]
    assert len(mirror_combinations((0, 1, 2))) == 8


@pytest.mark.parametrize(
    ("image", "tile"), [((17, 30, 41), (8, 16, 12)), ((3, 30, 20), (16, 20)), ((8, 8, 8), (8, 8, 8))]
)
def test_shares_are_the_importance_over_that_of_all_tiles(image: tuple[int, ...], tile: tuple[int, ...]) -> None:
    placed = place_tiles(image, tile)
    assert len(placed) == count_tiles(image, tile)
    assert [one.box[0].start for one in placed] == sorted(one.box[0].start for one in placed)
    weight = importance(tile).double().reshape(-1, *tile[-2:])
    total, shares = torch.zeros(image, dtype=torch.float64), torch.zeros(image, dtype=torch.float64)
    for one in placed:
        total[one.box] += weight
    for one in placed:
        z, y, x = one.weights
        share = z[:, None, None] * y[:, None] * x
        torch.testing.assert_close(share.double(), weight / total[one.box], rtol=1e-5, atol=0)
        shares[one.box] += share
    torch.testing.assert_close(shares, torch.ones_like(shares), rtol=1e-5, atol=1e-5)
