"""What makes a displacement field implausible, as losses that a registration lowers beside the dissimilarity.

A plug-in of kind `regularizer` is a function of a field (D, *S) in mm and the grid's spacing (D) in mm, with options
as keyword arguments; it returns a scalar of the field's dtype, 0 for a field that is constant. An axis of one voxel has
no derivative. Derivatives are taken inside the grid only, nothing is assumed beyond its border. `diffusion`,
`bending_energy` and `total_variation` do not depend on the directions of the grid's axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autoseg.errors import RegistrationError
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms.fields import jacobian_determinant


class Regularizer(Protocol):
    """A plug-in of kind `regularizer`."""

    def __call__(self, field: Tensor, spacing: Sequence[float]) -> Tensor: ...


def diffusion(field: Tensor, spacing: Sequence[float]) -> Tensor:
    """Mean squared gradient of the displacement: prefers fields that change slowly.

    The sum over components i and axes j of mean((du_i / dx_j)^2), by differences of neighbours; without unit. A linear
    field u = A x has the sum of the squared entries of A.

    Args:
        field: (D, *S), mm.
        spacing: mm along each axis.

    Raises:
        RegistrationError: spacing and field have different dimensions.

    Source: Fischer and Modersitzki 2002, Contemporary Mathematics 313.
    """
    _check(field, spacing)
    slopes = (_slope(field, axis, step) for axis, step in enumerate(spacing))
    return torch.stack([_mean_of_sum(slope.square()) for slope in slopes]).sum()


def bending_energy(field: Tensor, spacing: Sequence[float]) -> Tensor:
    """Mean squared curvature of the displacement: any linear field is free.

    The sum over components i and axes j, k of mean((d^2 u_i / dx_j dx_k)^2), by differences of differences of
    neighbours, mixed ones counted twice; in mm^-2. An axis of two voxels has only mixed ones.

    Args:
        field: (D, *S), mm.
        spacing: mm along each axis.

    Raises:
        RegistrationError: spacing and field have different dimensions.

    Source: Rueckert et al. 1999, IEEE TMI 18(8).
    """
    _check(field, spacing)
    terms = []
    for axis, step in enumerate(spacing):
        slope = _slope(field, axis, step)
        for other, width in enumerate(spacing[: axis + 1]):
            curvature = _slope(slope, other, width)
            terms.append(_mean_of_sum(curvature.square()) * (1 if other == axis else 2))
    return torch.stack(terms).sum()


def total_variation(field: Tensor, spacing: Sequence[float], *, softness: float = 1e-3) -> Tensor:
    """Mean length of the displacement's gradient: lets organs slide along each other.

    mean(sqrt(sum_ij (du_i / dx_j)^2 + softness^2) - softness), over cells between neighbours; without unit. A jump
    costs as much as a ramp of the same height, where `diffusion` forbids it. All components are taken together, so that
    the direction of a jump does not matter.

    Args:
        field: (D, *S), mm.
        spacing: mm along each axis.
        softness: gradients well below it cost their square, so that the loss has a derivative everywhere.

    Raises:
        RegistrationError: spacing and field have different dimensions.

    Source: Rudin, Osher and Fatemi 1992, Physica D 60; Vishnevskiy et al. 2017, IEEE TMI 36(2).
    """
    _check(field, spacing)
    squares = []
    for axis, step in enumerate(spacing):
        if field.shape[axis + 1] > 1:
            square = _slope(field, axis, step).square().sum(0)
            others = [other for other in range(len(spacing)) if other != axis and square.shape[other] > 1]
            for other in others:
                square = square.narrow(other, 0, square.shape[other] - 1)
            squares.append(square)
    if not squares:
        return field.sum() * 0
    return ((torch.stack(squares).sum(0) + softness**2).sqrt() - softness).mean()


def folding(
    field: Tensor, spacing: Sequence[float], *, direction: Sequence[Sequence[float]] | None = None, least: float = 0.0
) -> Tensor:
    """Mean amount by which the Jacobian determinant falls below a bound: pushes foldings apart.

    mean(max(0, least - det(I + du/dx))), derivatives as in `transforms.fields.jacobian`; without unit. It has no
    gradient where volumes stay above the bound.

    Args:
        field: (D, *S), mm.
        spacing: mm along each axis.
        direction: (D, D), the world directions of the grid's axes as columns, since components of the field are those
            of the world; the axes of the world by default.
        least: the bound; 0 punishes foldings only.

    Raises:
        RegistrationError: spacing and field have different dimensions.

    Source: Mok and Chung 2020, CVPR, arXiv:2003.09514.
    """
    _check(field, spacing)
    matrix = (np.eye(len(spacing)) if direction is None else np.asarray(direction, dtype=float)) * np.asarray(spacing)
    grid = Grid(tuple(field.shape[1:]), tuple(map(tuple, matrix.tolist())), (0.0,) * len(spacing))
    return functional.relu(least - jacobian_determinant(field, grid)).mean()


def _check(field: Tensor, spacing: Sequence[float]) -> None:
    if not len(spacing) == len(field) == field.ndim - 1:
        raise RegistrationError(
            "the field does not fit the spacing",
            got=f"field {tuple(field.shape)}, spacing of {len(spacing)} axes",
            expected="a component and a distance for each axis of the grid",
        )


def _slope(maps: Tensor, axis: int, step: float) -> Tensor:
    """Differences of neighbours along an axis of the grid, over their distance: one voxel less."""
    return maps.diff(dim=axis + 1) / step


def _mean_of_sum(squares: Tensor) -> Tensor:
    """The mean over voxels of the sum over components; 0 where there is no voxel."""
    return squares.sum() / max(1, squares[0].numel())
