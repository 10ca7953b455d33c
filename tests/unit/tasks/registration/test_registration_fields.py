"""Displacements, velocities, Jacobians and inverses against analytic maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import (
    Affine,
    Displacement,
    Velocity,
    as_displacement,
    compose_fields,
    exponential,
    invert_field,
    jacobian,
    jacobian_determinant,
)

GRID = {
    2: Grid((21, 25), ((0.6, -0.8), (0.8, 0.6)), (4.0, -3.0)),
    3: Grid((13, 11, 12), ((1.2, -0.6, 0.0), (1.6, 0.45, 0.0), (0.0, 0.0, -1.5)), (4.0, -3.0, 9.0)),
}
LIKE = torch.zeros((), dtype=torch.float64)


def linear_field(grid: Grid, matrix: np.ndarray) -> torch.Tensor:
    """(D, *S): matrix times the distance from the grid's centre."""
    centre = torch.tensor(grid.centre, dtype=torch.float64)
    return ((grid.points(LIKE) - centre) @ torch.from_numpy(matrix.T)).movedim(-1, 0)


def random_matrix(dimension: int, size: float, seed: int = 0) -> np.ndarray:
    return size * np.random.default_rng(seed).normal(size=(dimension, dimension))


def waves(grid: Grid, height: float) -> torch.Tensor:
    """A smooth displacement that fades towards the border."""
    unit = (grid.index(LIKE) + 0.5) / torch.tensor(grid.shape)
    window = torch.sin(torch.pi * unit).prod(dim=-1)
    parts = [torch.sin(2 * torch.pi * unit.roll(shift, -1)[..., 0] + shift) for shift in range(grid.dimension)]
    return height * torch.stack(parts) * window


def middle(field: torch.Tensor, margin: int = 4) -> torch.Tensor:
    cut = (slice(margin, -margin),) * 2 if field.ndim < 4 and field.shape[0] == 2 else (slice(margin, -margin),) * 3
    return field[(slice(None), *cut)]


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_exponential_of_a_linear_velocity_is_the_matrixs(dimension: int) -> None:
    grid = GRID[dimension]
    rate = random_matrix(dimension, 0.06)
    found = exponential(linear_field(grid, rate), grid, 7)
    squared = np.linalg.matrix_power(np.eye(dimension) + rate / 2**7, 2**7)
    np.testing.assert_allclose(middle(found), middle(linear_field(grid, squared - np.eye(dimension))), atol=1e-9)
    np.testing.assert_allclose(middle(found), middle(linear_field(grid, expm(rate) - np.eye(dimension))), atol=2e-3)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_velocity_and_its_reverse_undo_each_other(dimension: int) -> None:
    grid = GRID[dimension]
    errors = []
    for each in (grid, grid.resized([2 * n for n in grid.shape])):
        velocity = Velocity(each, waves(each, 1.0))
        points = each.points(LIKE)
        moved = velocity(points)
        assert (moved - points).norm(dim=-1).max() > 0.5
        assert jacobian_determinant(velocity.displacement.field, each).min() > 0
        errors.append(float((velocity.inverse()(moved) - points).norm(dim=-1).max()))
    assert errors[1] < 0.03
    assert errors[1] < 0.4 * errors[0]  # linear interpolation: of second order in the voxel's size


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_constant_velocity_is_its_displacement(dimension: int) -> None:
    grid = GRID[dimension]
    field = torch.ones((dimension, *grid.shape), dtype=torch.float64) * 0.7
    torch.testing.assert_close(exponential(field, grid, 5), field)


@pytest.mark.parametrize("dimension", [2, 3])
def test_composed_fields_apply_the_first_first(dimension: int) -> None:
    grid = GRID[dimension]
    first, second = random_matrix(dimension, 0.05), random_matrix(dimension, 0.05, seed=1)
    found = compose_fields(linear_field(grid, first), linear_field(grid, second), grid)
    both = (np.eye(dimension) + second) @ (np.eye(dimension) + first) - np.eye(dimension)
    np.testing.assert_allclose(middle(found), middle(linear_field(grid, both)), atol=1e-9)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_determinant_of_an_affine_field_is_the_matrixs(dimension: int) -> None:
    grid = GRID[dimension]
    matrix = torch.from_numpy(np.eye(dimension) + random_matrix(dimension, 0.3))
    zero = torch.zeros(dimension, dtype=torch.float64)
    field = as_displacement(Affine(matrix, zero + 3.0, zero), grid, like=LIKE).field
    expected = torch.linalg.det(matrix)
    torch.testing.assert_close(jacobian_determinant(field, grid), expected.expand(grid.shape))
    whole = jacobian(field, grid)
    torch.testing.assert_close(whole[(..., *(0,) * dimension)], matrix)


def test_the_determinant_of_a_quadratic_field() -> None:
    grid = Grid((9, 8), ((2.0, 0.0), (0.0, 0.5)), (1.0, -2.0))
    y, x = grid.points(LIKE).unbind(-1)
    field = torch.stack((0.02 * y * y + 0.1 * x, 0.05 * x * x - 0.1 * y))
    found = jacobian_determinant(field, grid)
    inner = (1 + 0.04 * y) * (1 + 0.1 * x) + 0.01
    torch.testing.assert_close(found[1:-1, 1:-1], inner[1:-1, 1:-1])
    one_sided = (1 + 0.04 * (y + 1.0)) * (1 + 0.1 * x) + 0.01  # between the first two rows, 2 mm apart
    torch.testing.assert_close(found[0, 1:-1], one_sided[0, 1:-1])


def test_folds_have_no_positive_determinant_and_single_slices_no_gradient() -> None:
    grid = Grid((1, 6, 5), ((3.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (0.0, 0.0, 0.0))
    mirrored = torch.stack(
        (torch.zeros(grid.shape), torch.zeros(grid.shape), -2 * grid.points(torch.zeros(()))[..., 2])
    )
    torch.testing.assert_close(jacobian_determinant(mirrored, grid), -torch.ones(grid.shape))


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("rate", [-0.7, 0.5, 1.8])
def test_linear_maps_are_inverted_even_where_they_stretch_or_shrink_much(dimension: int, rate: float) -> None:
    grid = GRID[dimension]
    field = linear_field(grid, rate * np.eye(dimension))
    found = invert_field(field, grid, tolerance=1e-6)
    expected = linear_field(grid, (1 / (1 + rate) - 1) * np.eye(dimension))
    assert found.residual.max() < 1e-6
    reached = grid.to_index(grid.points(LIKE) + expected.movedim(0, -1))
    linear = ((reached >= 0) & (reached <= torch.tensor(grid.shape) - 1)).all(dim=-1)  # else the border goes on
    assert linear.sum() > 20
    np.testing.assert_allclose(found.field[:, linear], expected[:, linear], atol=1e-5)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_displacement_and_its_inverse_undo_each_other(dimension: int) -> None:
    grid = GRID[dimension]
    errors = []
    for each in (grid, grid.resized([2 * n for n in grid.shape])):
        transform = Displacement(each, waves(each, 1.0))
        back = transform.inverse()
        points = each.points(LIKE)
        assert (transform(points) - points).norm(dim=-1).max() > 0.5
        assert invert_field(transform.field, each).residual.max() <= 1e-3 * min(each.spacing)
        torch.testing.assert_close(transform(back(points)) - points, torch.zeros_like(points), atol=2e-3, rtol=0)
        errors.append(float((back(transform(points)) - points).norm(dim=-1).max()))
    assert errors[1] < 0.1 * max(each.spacing)
    assert errors[1] < 0.4 * errors[0]  # between voxels the inverse is interpolated


def test_an_inverse_on_another_grid() -> None:
    grid = GRID[2]
    onto = grid.resized((13, 9))
    transform = Displacement(grid, waves(grid, 1.0))
    found = invert_field(transform.field, grid, onto=onto)
    points = onto.points(LIKE)
    reached = transform(points + found.field.movedim(0, -1))
    assert found.residual.shape == onto.shape
    torch.testing.assert_close((reached - points).norm(dim=-1), found.residual)
    assert found.residual.max() < 1e-3


def test_what_folds_has_a_large_residual() -> None:
    grid = GRID[2]
    folded = waves(grid, 12.0)
    assert jacobian_determinant(folded, grid).min() < 0
    assert invert_field(folded, grid).residual.max() > 0.1


@pytest.mark.parametrize("dimension", [2, 3])
def test_gradients_of_fields(dimension: int) -> None:
    grid = Grid((4, 3, 4)[:dimension], GRID[dimension].matrix, GRID[dimension].origin)
    # a constant part keeps look-ups off the voxel centres, where linear interpolation has a kink
    field = (0.1 * waves(grid, 1.0) + 0.31).requires_grad_()
    random = torch.rand((dimension, *grid.shape), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    checks = {
        "determinant": lambda u: jacobian_determinant(u, grid),
        "exponential": lambda u: exponential(u, grid, 2),
        "composed": lambda u: compose_fields(u, random, grid),
    }
    for name, function in checks.items():
        assert torch.autograd.gradcheck(function, field), name
