"""Free-form deformation against SimpleITK's B-spline transform and polynomials."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from autoseg.errors import RegistrationError
from autoseg.tasks.registration.cubic_interpolation import keys_weights, spline_weights
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import BSpline, Displacement, invert_field, lattice

GRID = {
    2: Grid((11, 14), ((0.6, -1.6), (0.8, 1.2)), (4.0, -3.0)),
    3: Grid((9, 7, 8), ((1.2, -0.6, 0.0), (1.6, 0.45, 0.0), (0.0, 0.0, -1.5)), (4.0, -3.0, 9.0)),
}
SPACING = {2: (4.5, 3.0), 3: (4.5, 3.0, 5.0)}
LIKE = torch.zeros((), dtype=torch.float64)


def random_spline(dimension: int) -> BSpline:
    shape = (dimension, *lattice(GRID[dimension], SPACING[dimension]))
    coefficients = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return BSpline(GRID[dimension], coefficients, SPACING[dimension])


@pytest.mark.parametrize("dimension", [2, 3])
def test_displacements_are_simpleitks(dimension: int) -> None:
    ours, grid = random_spline(dimension), GRID[dimension]
    cells = [n - 3 for n in ours.coefficients.shape[1:]]
    itks = sitk.BSplineTransform(dimension, 3)
    itks.SetTransformDomainOrigin(grid.origin[::-1])
    itks.SetTransformDomainDirection((np.array(grid.matrix) / grid.spacing)[::-1, ::-1].ravel().tolist())
    itks.SetTransformDomainPhysicalDimensions([n * s for n, s in zip(cells, ours.spacing, strict=True)][::-1])
    itks.SetTransformDomainMeshSize(cells[::-1])
    itks.SetParameters(ours.coefficients.flip(0).ravel().tolist())
    random = torch.Generator().manual_seed(1)
    index = torch.rand((40, dimension), dtype=torch.float64, generator=random) * (torch.tensor(grid.shape) - 1.01)

    points = grid.to_world(index)
    for point, found in zip(points.flip(-1).tolist(), ours(points).flip(-1).tolist(), strict=True):
        assert found == pytest.approx(itks.TransformPoint(point), abs=1e-9)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_products_of_matrices_are_the_sum_at_every_voxel(dimension: int) -> None:
    spline, grid = random_spline(dimension), GRID[dimension]
    points = grid.points(LIKE)
    torch.testing.assert_close(spline.displacement.field.movedim(0, -1), spline(points) - points)


@pytest.mark.parametrize("dimension", [2, 3])
def test_coefficients_of_a_linear_function_give_it(dimension: int) -> None:
    grid, spacing = GRID[dimension], SPACING[dimension]
    shape = lattice(grid, spacing)
    steps = [torch.arange(-1, n - 1, dtype=torch.float64) * s for n, s in zip(shape, spacing, strict=True)]
    slopes = 0.1 * torch.arange(1, dimension + 1)
    linear = torch.stack([m * (axis + 1) for axis, m in enumerate(torch.meshgrid(*steps, indexing="ij"))]).sum(0)
    spline = BSpline(grid, torch.stack([slope * linear for slope in slopes]), spacing)
    along = grid.index(LIKE) * torch.tensor(grid.spacing)
    expected = (along * torch.arange(1, dimension + 1)).sum(-1)
    torch.testing.assert_close(spline.displacement.field, torch.stack([slope * expected for slope in slopes]))


@pytest.mark.parametrize("dimension", [2, 3])
def test_borders_go_on(dimension: int) -> None:
    spline, grid = random_spline(dimension), GRID[dimension]
    last = grid.to_world(torch.tensor(grid.shape, dtype=torch.float64) - 1)
    beyond = grid.to_world(torch.tensor(grid.shape, dtype=torch.float64) + 7)
    torch.testing.assert_close(spline(beyond) - beyond, spline(last) - last)
    corner = spline.displacement.field[(slice(None), *(-1,) * dimension)]
    torch.testing.assert_close(spline(last) - last, corner)


def test_the_lattice_covers_the_grid() -> None:
    grid = Grid((9, 1), ((2.0, 0.0), (0.0, 1.0)), (0.0, 0.0))
    assert lattice(grid, (4.0, 4.0)) == (4 + 3, 1 + 3)  # 16 mm between the first and the last centre
    assert lattice(grid, (3.9, 4.0)) == (5 + 3, 1 + 3)


def test_weights_sum_to_one_and_are_smooth() -> None:
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    for weights in (spline_weights, keys_weights):
        torch.testing.assert_close(weights(t).sum(-1), torch.ones(11, dtype=torch.float64))
        torch.testing.assert_close(weights(t)[-1, 1:], weights(t)[0, :-1])  # one cell goes on as the next
    assert spline_weights(t)[0].tolist() == pytest.approx([1 / 6, 2 / 3, 1 / 6, 0])


def test_an_inverse_is_the_fields() -> None:
    grid = GRID[2]
    spline = BSpline(grid, 0.2 * random_spline(2).coefficients, SPACING[2])
    inverse = spline.inverse()
    assert isinstance(inverse, Displacement)
    torch.testing.assert_close(inverse.field, invert_field(spline.displacement.field, grid).field)


@pytest.mark.parametrize("dimension", [2, 3])
def test_gradients_by_coefficients_and_points(dimension: int) -> None:
    grid = Grid((4, 3, 3)[:dimension], GRID[dimension].matrix, GRID[dimension].origin)
    spacing = (6.0,) * dimension
    shape = (dimension, *lattice(grid, spacing))
    coefficients = torch.rand(
        shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    points = grid.to_world(torch.full((1, dimension), 1.3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda c, p: BSpline(grid, c, spacing)(p), (coefficients, points), fast_mode=True)
    assert torch.autograd.gradcheck(
        lambda c: BSpline(grid, c, spacing).displacement.field, coefficients, fast_mode=True
    )


@pytest.mark.parametrize("spacing", [(4.0,), (4.0, 0.0), (4.0, math.nan)])
def test_spacings_that_do_not_fit_are_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(RegistrationError, match="spacing of control points"):
        lattice(GRID[2], spacing)


def test_coefficients_of_another_lattice_are_refused() -> None:
    with pytest.raises(RegistrationError, match="do not fit its grid"):
        BSpline(GRID[2], torch.zeros(2, 4, 4), SPACING[2])
