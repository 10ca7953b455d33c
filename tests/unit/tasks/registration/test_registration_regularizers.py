"""Regularisers have the values that fields given by a formula have, whatever the spacing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg import plugins
from autoseg.errors import RegistrationError
from autoseg.tasks.registration.regularizers import bending_energy, diffusion, folding, total_variation

NAMES = plugins.names("regularizer")
GRIDS = {"plane": ((6, 7), (2.0, 0.7)), "volume": ((4, 5, 6), (3.0, 1.5, 0.8))}

every_regularizer = pytest.mark.parametrize("name", NAMES)
planes_and_volumes = pytest.mark.parametrize("kind", GRIDS)


def points(shape: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """(D, *S), mm from the first voxel."""
    axes = [torch.arange(n, dtype=torch.float64) * step for n, step in zip(shape, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def linear(matrix: Tensor, places: Tensor) -> Tensor:
    """u = A x + 2."""
    return torch.einsum("ij,j...->i...", matrix, places) + 2


def quadratic(hessians: Tensor, places: Tensor) -> Tensor:
    """u_i = x' H_i x / 2, H_i symmetric."""
    return torch.einsum("ijk,j...,k...->i...", hessians, places, places) / 2


def matrices(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@planes_and_volumes
def test_a_linear_field(kind: str) -> None:
    shape, spacing = GRIDS[kind]
    matrix = 0.2 * matrices(len(shape), len(shape))
    field = linear(matrix, points(shape, spacing))
    squares = float(matrix.square().sum())
    assert float(diffusion(field, spacing)) == pytest.approx(squares)
    assert float(bending_energy(field, spacing)) == pytest.approx(0, abs=1e-20)
    assert float(total_variation(field, spacing, softness=0.01)) == pytest.approx(math.sqrt(squares + 1e-4) - 0.01)
    determinant = float(torch.linalg.det(torch.eye(len(shape)) + matrix))
    assert float(folding(field, spacing)) == pytest.approx(max(0.0, -determinant))
    assert float(folding(field, spacing, least=3)) == pytest.approx(3 - determinant)


@planes_and_volumes
def test_a_reflection_folds_everywhere(kind: str) -> None:
    shape, spacing = GRIDS[kind]
    matrix = torch.diag(torch.tensor([-3.0] + [0.0] * (len(shape) - 1), dtype=torch.float64))
    assert float(folding(linear(matrix, points(shape, spacing)), spacing)) == pytest.approx(2)


@planes_and_volumes
def test_a_quadratic_field(kind: str) -> None:
    shape, spacing = GRIDS[kind]
    hessians = matrices(*[len(shape)] * 3)
    hessians = hessians + hessians.transpose(1, 2)
    field = quadratic(hessians, points(shape, spacing))
    assert float(bending_energy(field, spacing)) == pytest.approx(float(hessians.square().sum()))


def test_the_diffusion_of_a_parabola_is_taken_between_voxels() -> None:
    spacing = (2.0, 0.5)
    y = points((5, 4), spacing)[0]
    between = 2.0 * (np.arange(4) + 0.5)
    field = torch.stack((y.square(), 0 * y))
    assert float(diffusion(field, spacing)) == pytest.approx(np.mean((2 * between) ** 2))


def test_total_variation_takes_a_jump_for_a_ramp_and_diffusion_does_not() -> None:
    ramp = torch.linspace(0, 3, 7, dtype=torch.float64).expand(2, 6, 7)
    jump = (torch.arange(7) > 3).double().mul(3).expand(2, 6, 7)
    softness = 1e-9
    totals = [float(total_variation(field, (1, 1), softness=softness)) for field in (ramp, jump)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)
    assert float(diffusion(jump, (1, 1))) == pytest.approx(6 * float(diffusion(ramp, (1, 1))))


def test_directions_of_the_axes_turn_components_of_the_world() -> None:
    shape, spacing = GRIDS["plane"]
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    bent = quadratic(0.4 * matrices(2, 2, 2), points(shape, spacing))
    turned = torch.einsum("ij,j...->i...", turn, bent)
    for name in ("diffusion", "bending-energy", "total-variation"):
        regularizer = plugins.resolve("regularizer", name)
        torch.testing.assert_close(regularizer(turned, spacing), regularizer(bent, spacing))
    torch.testing.assert_close(folding(turned, spacing, direction=turn.tolist()), folding(bent, spacing))
    assert float(folding(bent, spacing)) > 0


@every_regularizer
@planes_and_volumes
def test_the_gradient_is_that_of_the_loss(name: str, kind: str) -> None:
    shape, spacing = GRIDS[kind]
    shape = tuple(n - 2 for n in shape)
    field = matrices(len(shape), *shape).requires_grad_()
    regularizer = plugins.resolve("regularizer", name)
    assert torch.autograd.gradcheck(lambda one: regularizer(one, spacing), field, fast_mode=kind == "volume")


@every_regularizer
@planes_and_volumes
def test_a_translation_costs_nothing_and_is_not_pulled_at(name: str, kind: str) -> None:
    shape, spacing = GRIDS[kind]
    field = torch.full((len(shape), *shape), 4.0, requires_grad=True)
    loss = plugins.resolve("regularizer", name)(field, spacing)
    assert loss.shape == ()
    assert float(loss.detach()) == 0
    (gradient,) = torch.autograd.grad(loss, field)
    assert not gradient.any()


@every_regularizer
@pytest.mark.parametrize("shape", [(1, 5, 6), (1, 1, 6), (2, 2, 2)])
def test_thin_grids_have_finite_losses(name: str, shape: tuple[int, ...]) -> None:
    field = matrices(3, *shape).requires_grad_()
    loss = plugins.resolve("regularizer", name)(field, (3.0, 1.0, 1.0))
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, field)[0]).all()


def test_one_thin_axis_leaves_the_loss_of_the_plane() -> None:
    plane = matrices(2, 5, 6)
    volume = torch.cat((torch.zeros(1, 5, 6, dtype=torch.float64), plane))[:, None]
    for name in NAMES:
        regularizer = plugins.resolve("regularizer", name)
        torch.testing.assert_close(regularizer(volume, (9.0, 2.0, 0.7)), regularizer(plane, (2.0, 0.7)))


@every_regularizer
def test_one_voxel_costs_nothing(name: str) -> None:
    assert float(plugins.resolve("regularizer", name)(matrices(3, 1, 1, 1), (1.0, 1.0, 1.0))) == 0


@every_regularizer
def test_a_field_that_does_not_fit_the_spacing_is_refused(name: str) -> None:
    for field, spacing in ((torch.zeros(3, 4, 4), (1, 1)), (torch.zeros(2, 4, 4), (1, 1, 1))):
        with pytest.raises(RegistrationError, match="does not fit"):
            plugins.resolve("regularizer", name)(field, spacing)
