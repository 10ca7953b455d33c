"""Affine maps, homographies and composites against their formulas and SimpleITK's composite."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import (
    Affine,
    BSpline,
    Composite,
    Displacement,
    Perspective,
    SpatialTransform,
    Velocity,
    as_displacement,
    compose,
    is_linear,
    lattice,
    transform_of,
)

GRID = {
    2: Grid((9, 11), ((1.2, -0.5), (0.9, 0.7)), (4.0, -3.0)),
    3: Grid((7, 8, 6), ((1.2, -0.5, 0.0), (0.9, 0.7, 0.0), (0.0, 0.0, -2.0)), (4.0, -3.0, 9.0)),
}


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 0.5


def affine(dimension: int, seed: int = 0) -> Affine:
    matrix = torch.eye(dimension, dtype=torch.float64) + 0.3 * rand(dimension, dimension, seed=seed)
    return Affine(matrix, 4 * rand(dimension, seed=seed + 1), 9 * rand(dimension, seed=seed + 2))


def every(dimension: int) -> dict[str, SpatialTransform]:
    grid = GRID[dimension]
    spacing = (3.0,) * dimension
    homography = transform_of(rand(8, seed=4), "perspective", GRID[2])
    return {
        "affine": affine(dimension),
        "displacement": Displacement(grid, rand(dimension, *grid.shape)),
        "velocity": Velocity(grid, rand(dimension, *grid.shape)),
        "bspline": BSpline(grid, rand(dimension, *lattice(grid, spacing)), spacing),
        "composite": Composite((affine(dimension), Displacement(grid, rand(dimension, *grid.shape)))),
        **({"perspective": homography} if dimension == 2 else {}),
    }


@pytest.mark.parametrize("dimension", [2, 3])
def test_affine_maps_are_itks(dimension: int) -> None:
    ours = affine(dimension)
    itks = sitk.AffineTransform(dimension)
    itks.SetMatrix(ours.matrix.ravel().tolist())  # the names of the axes do not matter to the formula
    itks.SetTranslation(ours.translation.tolist())
    itks.SetCenter(ours.centre.tolist())
    points = 20 * rand(5, dimension, seed=9)
    for transform, expected in ((ours, itks), (ours.inverse(), itks.GetInverse())):
        found = transform(points)
        for point, image in zip(points.tolist(), found.tolist(), strict=True):
            assert image == pytest.approx(expected.TransformPoint(point))


@pytest.mark.parametrize("dimension", [2, 3])
def test_composites_apply_their_first_part_first_and_itks_their_last(dimension: int) -> None:
    first, second = affine(dimension), affine(dimension, seed=5)
    itks = []
    for part in (first, second):
        transform = sitk.AffineTransform(part.matrix.ravel().tolist(), part.translation.tolist(), part.centre.tolist())
        itks.append(transform)
    points = 20 * rand(4, dimension, seed=9)
    composite, joined = Composite((first, second)), compose(first, second)
    assert isinstance(joined, Affine)
    for point, image, at_once in zip(points.tolist(), composite(points), joined(points), strict=True):
        expected = sitk.CompositeTransform([itks[1], itks[0]]).TransformPoint(point)
        assert image.tolist() == pytest.approx(expected)
        assert at_once.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("dimension", [2, 3])
def test_composing_opens_composites_and_joins_neighbours(dimension: int) -> None:
    field = Displacement(GRID[dimension], rand(dimension, *GRID[dimension].shape))
    linear = Composite((affine(dimension), affine(dimension, 3)))
    whole = compose(linear, Composite((affine(dimension, 6), Composite((field,)))), linear)
    assert isinstance(whole, Composite)
    assert [type(part) for part in whole.parts] == [Affine, Displacement, Affine]
    assert is_linear(linear)
    assert not is_linear(whole)
    points = 10 * rand(20, dimension, seed=9)
    expected = linear(field(affine(dimension, 6)(linear(points))))
    torch.testing.assert_close(whole(points), expected)


@pytest.mark.parametrize("dimension", [2, 3])
def test_every_transform_as_displacements_of_its_own_and_of_another_grid(dimension: int) -> None:
    own = GRID[dimension]
    other = Grid((4, 5, 3)[:dimension], own.resized([2 * n for n in own.shape]).matrix, own.centre)
    for name, transform in every(dimension).items():
        assert transform.dimension == dimension
        for grid in (own, other):
            points = grid.points(torch.zeros((), dtype=torch.float64))
            found = as_displacement(transform, grid, like=points)
            assert found.grid == grid
            torch.testing.assert_close(
                points + found.field.movedim(0, -1), transform(points), atol=1e-9, rtol=0, msg=name
            )


@pytest.mark.parametrize("dimension", [2, 3])
def test_points_keep_their_type_and_no_points_are_none(dimension: int) -> None:
    for transform in every(dimension).values():
        points = torch.rand((2, 3, dimension), dtype=torch.float32)
        assert (transform(points).dtype, transform(points).shape) == (torch.float32, points.shape)
        assert transform(points[:0]).shape == (0, 3, dimension)


def test_displacements_take_type_and_device_from_the_field() -> None:
    grid = GRID[2]
    assert as_displacement(affine(2), grid).field.dtype == torch.float32
    field = rand(2, *grid.shape).requires_grad_()
    whole = as_displacement(Composite((affine(2), Displacement(grid, field))), grid)
    assert whole.field.dtype == torch.float64
    whole.field.sum().backward()
    assert field.grad is not None
    assert as_displacement(Displacement(grid, field), grid).field is field


def test_a_homography_maps_as_its_formula_and_back() -> None:
    matrix = torch.tensor([[1.1, 0.2, 3.0], [-0.1, 0.9, -2.0], [0.004, -0.003, 1.0]], dtype=torch.float64)
    transform = Perspective(matrix, torch.tensor([5.0, 7.0], dtype=torch.float64))
    points = 30 * rand(10, 2)
    y, x = points[:, 0] - 5, points[:, 1] - 7
    w = 0.004 * y - 0.003 * x + 1
    expected = torch.stack(((1.1 * y + 0.2 * x + 3) / w + 5, (-0.1 * y + 0.9 * x - 2) / w + 7), dim=1)
    torch.testing.assert_close(transform(points), expected)
    torch.testing.assert_close(transform.inverse()(expected), points)
    flat = Perspective(2 * matrix, transform.centre)
    torch.testing.assert_close(flat(points), expected)


@pytest.mark.parametrize("dimension", [2, 3])
def test_composites_invert_from_the_end(dimension: int) -> None:
    composite = Composite((affine(dimension), affine(dimension, 4), Velocity(GRID[dimension], torch.zeros(
        dimension, *GRID[dimension].shape, dtype=torch.float64))))  # fmt: skip
    points = 20 * rand(5, dimension, seed=9)
    torch.testing.assert_close(composite.inverse()(composite(points)), points)


def test_identities_move_nothing() -> None:
    points = 20 * rand(5, 3)
    for transform in (
        Affine.identity(3, (1.0, 2.0, 3.0)),
        Displacement.zeros(GRID[3]),
        BSpline.zeros(GRID[3], (3.0,) * 3),
    ):
        assert np.allclose(transform(points), points, atol=1e-12)
