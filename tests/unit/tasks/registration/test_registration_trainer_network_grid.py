"""How images come onto the grid of a registration network."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch

from autoseg.data.image import Geometry, Image
from autoseg.data.orientation import Orientation
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.trainer.network_grid import centred, continued, covered, first_voxel

TURNS = [(order, signs) for order in permutations(range(3)) for signs in product((1.0, -1.0), repeat=3)]


def image_along(order: tuple[int, ...], signs: tuple[float, ...]) -> Image:
    """Axis j of the array runs along world axis order[j], forwards or backwards."""
    direction = np.zeros((3, 3))
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        direction[world, axis] = sign
    z, y, x = (tuple(row) for row in direction.tolist())
    geometry = Geometry(spacing=(1.5, 0.8, 2.0), origin=(3.0, -7.0, 11.0), direction=(z, y, x))
    array = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    return Image(array, geometry)


@pytest.mark.parametrize(("order", "signs"), TURNS)
def test_turning_leaves_every_voxel_in_its_place(order: tuple[int, ...], signs: tuple[float, ...]) -> None:
    image = image_along(order, signs)
    turned = Orientation.of(image.geometry).turn_image(image)
    assert np.allclose(turned.geometry.direction, np.eye(3))
    before, after = Grid.of(image), Grid.of(turned)
    places = before.to_index(after.points(torch.zeros((), dtype=torch.float64))).round().long().numpy()
    assert np.array_equal(turned.array, image.array[:, places[..., 0], places[..., 1], places[..., 2]])
    assert np.array_equal(Orientation.of(image.geometry).turn(image.array), turned.array)


def test_an_oblique_image_is_turned_by_less_than_half_a_right_angle() -> None:
    c, s = np.cos(0.5), np.sin(0.5)
    geometry = Geometry(direction=((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)))
    assert Orientation.of(geometry) == Orientation((0, 1, 2), (False, False, False))


@pytest.mark.parametrize("start", [(-2, 1, 0), (0, 0, 0), (2, -3, 4), (9, 9, 9)])
def test_a_box_is_continued_by_the_border(start: tuple[int, int, int]) -> None:
    array = np.random.default_rng(0).normal(size=(2, 4, 5, 6))
    size = (5, 6, 3)
    wide = np.pad(array, [(0, 0)] + [(20, 20)] * 3, mode="edge")
    inner = np.pad(np.ones(array.shape[1:], bool), 20)
    box = tuple(slice(first + 20, first + 20 + length) for first, length in zip(start, size, strict=True))
    assert np.array_equal(continued(array, start, size), wide[(slice(None), *box)])
    assert np.array_equal(covered(array.shape[1:], start, size), inner[box])


@pytest.mark.parametrize(("shape", "size"), [((10, 7), (16, 4)), ((5, 5), (5, 5)), ((4, 9), (5, 8))])
def test_middles_lie_on_each_other_to_half_a_voxel(shape: tuple[int, int], size: tuple[int, int]) -> None:
    grid = Grid(shape, ((0.5, 0.0), (0.0, 2.0)), (4.0, -1.0))
    placed = centred(grid, size)
    away = np.abs(np.subtract(placed.centre, grid.centre)) / grid.spacing
    assert (away <= 0.5 + 1e-9).all()
    index = grid.to_index(torch.tensor(placed.origin, dtype=torch.float64))
    assert index.tolist() == pytest.approx(first_voxel(shape, size))
