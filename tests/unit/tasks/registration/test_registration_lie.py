"""Matrix exponentials against scipy and analytic rotations, and how far a coefficient moves an image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from autoseg.errors import RegistrationError
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Perspective, basis, matrix_of, radius, transform_of

SIZES = {
    ("translation", 2): 2, ("rigid", 2): 3, ("similarity", 2): 4, ("affine", 2): 6, ("perspective", 2): 8,
    ("translation", 3): 3, ("rigid", 3): 6, ("similarity", 3): 7, ("affine", 3): 12,
}  # fmt: skip
CASES = [pytest.param(kind, dimension, id=f"{kind}-{dimension}d") for kind, dimension in SIZES]
GRID = {
    2: Grid((40, 60), ((0.0, 1.5), (2.0, 0.0)), (-20.0, 7.0)),
    3: Grid((12, 15, 9), ((2.0, 0.0, 0.0), (0.0, 0.0, 1.5), (0.0, -1.0, 0.0)), (3.0, 40.0, -7.0)),
}


def coefficients(kind: str, dimension: int, size: float, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return size * torch.randn(SIZES[kind, dimension], dtype=torch.float64, generator=random)


@pytest.mark.parametrize(("kind", "dimension"), CASES)
def test_exponentials_equal_scipys_and_minus_is_the_inverse(kind: str, dimension: int) -> None:
    values = coefficients(kind, dimension, 0.3)
    generators = basis(kind, dimension).numpy()
    assert generators.shape == (SIZES[kind, dimension], dimension + 1, dimension + 1)
    assert np.linalg.matrix_rank(generators.reshape(len(generators), -1)) == len(generators)
    found = matrix_of(values, kind, dimension)
    np.testing.assert_allclose(found, expm(np.tensordot(values, generators, 1)), atol=1e-12)
    np.testing.assert_allclose(found @ matrix_of(-values, kind, dimension), np.eye(dimension + 1), atol=1e-12)


@pytest.mark.parametrize(("kind", "dimension"), CASES)
def test_gradients_of_the_exponential(kind: str, dimension: int) -> None:
    values = coefficients(kind, dimension, 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: matrix_of(v, kind, dimension), values)
    zeros = torch.zeros_like(values, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: matrix_of(v, kind, dimension), zeros)


def test_a_rotation_turns_the_first_axis_towards_the_second() -> None:
    angle = 0.4
    turn = matrix_of(torch.tensor([0.0, 0.0, angle], dtype=torch.float64), "rigid", 2)[:2, :2]
    expected = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    np.testing.assert_allclose(turn, expected, atol=1e-12)


def test_rigid_maps_turn_and_similarities_scale() -> None:
    rigid = matrix_of(coefficients("rigid", 3, 0.7), "rigid", 3)[:3, :3]
    np.testing.assert_allclose(rigid @ rigid.T, np.eye(3), atol=1e-12)
    assert torch.linalg.det(rigid) == pytest.approx(1.0)
    values = coefficients("similarity", 3, 0.7)
    similar = matrix_of(values, "similarity", 3)[:3, :3]
    np.testing.assert_allclose(similar @ similar.T, np.exp(2 * float(values[6])) * np.eye(3), atol=1e-12)
    only_stretch = torch.cat((torch.zeros(7), torch.randn(5, generator=torch.Generator().manual_seed(1)))).double()
    assert torch.linalg.det(matrix_of(only_stretch, "affine", 3)) == pytest.approx(1.0)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_richer_kind_goes_on_from_a_simpler_one(dimension: int) -> None:
    kinds = [kind for kind, d in SIZES if d == dimension]
    values = coefficients("translation", dimension, 0.5)
    first = matrix_of(values, "translation", dimension)
    for kind in kinds:
        padded = torch.zeros(SIZES[kind, dimension], dtype=torch.float64)
        padded[:dimension] = values
        assert torch.equal(matrix_of(padded, kind, dimension), first)


@pytest.mark.parametrize(("kind", "dimension"), CASES)
def test_every_coefficient_moves_the_voxels_by_about_its_millimetres(kind: str, dimension: int) -> None:
    grid = GRID[dimension]
    points = grid.points(torch.zeros((), dtype=torch.float64))
    for place in range(SIZES[kind, dimension]):
        values = torch.zeros(SIZES[kind, dimension], dtype=torch.float64)
        values[place] = 0.1
        moved = transform_of(values, kind, grid)(points) - points
        assert 0.03 < moved.square().sum(-1).mean().sqrt() < 0.2, place


@pytest.mark.parametrize(("kind", "dimension"), CASES)
def test_transforms_turn_about_the_grids_centre_by_radians_times_radius(kind: str, dimension: int) -> None:
    grid = GRID[dimension]
    values = coefficients(kind, dimension, 5.0)
    values[:dimension] = 0
    centre = torch.tensor(grid.centre, dtype=torch.float64)
    transform = transform_of(values, kind, grid)
    torch.testing.assert_close(transform(centre), centre)
    assert isinstance(transform, Perspective) == (kind == "perspective")
    points = grid.points(values)
    torch.testing.assert_close(transform.inverse()(transform(points)), points)
    scale = radius(grid)
    normal = torch.cat(((points - centre) / scale, torch.ones_like(points[..., :1])), dim=-1)
    mapped = normal @ matrix_of(values / scale, kind, dimension).T
    torch.testing.assert_close(transform(points), scale * mapped[..., :-1] / mapped[..., -1:] + centre)
    loose = values.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: transform_of(v, kind, grid)(points[0, :2]), loose)


def test_the_radius_of_a_cube_is_half_its_side() -> None:
    cube = Grid((10, 20, 5), ((2.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 4.0)), (0.0, 0.0, 0.0))
    assert radius(cube) == pytest.approx(10.0)


@pytest.mark.parametrize(("kind", "dimension"), [("perspective", 3), ("elastic", 2)])
def test_what_has_no_basis_is_refused(kind: str, dimension: int) -> None:
    with pytest.raises(RegistrationError, match="no such kind"):
        basis(kind, dimension)
    with pytest.raises(RegistrationError, match="other coefficients"):
        matrix_of(torch.zeros(5), "rigid", 3)
