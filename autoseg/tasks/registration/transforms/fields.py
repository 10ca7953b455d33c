"""Arithmetic of displacement fields: (D, *S) in mm on a grid, continued by their borders outside of it.

A field u stands for the map p -> p + u(p).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from autoseg.tasks.registration.space import Grid, normalized, sample_index

if TYPE_CHECKING:
    from jaxtyping import Float

_SETTLED = 1e-3  # of the finest spacing: an inverse this good is good enough


class Inversion(NamedTuple):
    """An inverse field and how far it is from one.

    Attributes:
        field: (D, *S) in mm.
        residual: (*S), mm between each voxel and where inverse and field in turn take it.
    """

    field: Float[Tensor, " dimension *space"]
    residual: Float[Tensor, "*space"]


def compose_fields(
    first: Float[Tensor, " dimension *space"], second: Float[Tensor, " dimension *space"], grid: Grid
) -> Float[Tensor, " dimension *space"]:
    """The field of the map that applies `first`, then `second`, both on one grid.

    Args:
        first, second: (D, *S) in mm.

    Returns:
        (D, *S): first(p) + second(p + first(p)), linearly interpolated; differentiable in both.
    """
    index = grid.index(first) + grid.steps_to_index(first.movedim(0, -1))
    return first + sample_index(second, index)


def exponential(
    velocity: Float[Tensor, " dimension *space"], grid: Grid, steps: int
) -> Float[Tensor, " dimension *space"]:
    """The field that a stationary velocity reaches after one unit of time, by scaling and squaring.

    The velocity over 2^steps is taken as a small displacement, which is composed with itself `steps` times. Folding
    does not occur while one small displacement stays well below a voxel.

    Args:
        velocity: (D, *S) in mm.

    Returns:
        (D, *S) in mm; differentiable.

    Source: Arsigny et al. 2006, MICCAI, LNCS 4190, algorithm 2.
    """
    home = normalized(grid.index(velocity), grid.shape)
    lengths = torch.tensor(grid.shape, dtype=velocity.dtype, device=velocity.device)
    matrix = torch.tensor(grid.matrix, dtype=velocity.dtype, device=velocity.device)
    # in units of `grid_sample`, so that a squaring is one sum and one look-up
    steps_of_index = grid.steps_to_index(velocity.movedim(0, -1)) / 2**steps
    small = (2 * steps_of_index / lengths).flip(-1).movedim(-1, 0)
    for _ in range(steps):
        points = home + small.movedim(0, -1)
        small = small + functional.grid_sample(small[None], points[None], "bilinear", "border", align_corners=False)[0]
    return (small.movedim(0, -1).flip(-1) * lengths / 2 @ matrix.T).movedim(-1, 0)


def invert_field(
    field: Float[Tensor, " dimension *space"],
    grid: Grid,
    *,
    onto: Grid | None = None,
    iterations: int = 100,
    tolerance: float | None = None,
) -> Inversion:
    """The field v with p + v(p) + u(p + v(p)) = p, by a fixed-point iteration at every voxel.

    v becomes v minus its error as long as that helps; where it does not, the voxel returns to its best v and goes on
    with half the step, which also reaches inverses where the map stretches to more than double.

    Args:
        field: u, (D, *S) in mm on `grid`.
        grid: of u.
        onto: grid of v; `grid` by default.
        iterations: at most.
        tolerance: stops when no error is larger, mm; by default a thousandth of the finest spacing.

    Returns:
        v and its residual. A map that folds has no inverse: the residual there is large.

    Source: Chen et al. 2008, Medical Physics 35(1).
    """
    onto = onto or grid
    tolerance = _SETTLED * min(grid.spacing) if tolerance is None else tolerance
    with torch.no_grad():
        points = onto.points(field)
        inverse = -sample_index(field, grid.to_index(points))
        error = inverse + _at(field, grid, points, inverse)
        residual = error.norm(dim=0)
        step = torch.ones_like(residual)
        for _ in range(iterations):
            if bool((residual <= tolerance).all()):
                break
            proposal = inverse - step * error
            proposed = proposal + _at(field, grid, points, proposal)
            distance = proposed.norm(dim=0)
            better = distance < residual
            inverse, error = torch.where(better, proposal, inverse), torch.where(better, proposed, error)
            residual = torch.where(better, distance, residual)
            step = torch.where(better, step, step / 2)
    return Inversion(inverse, residual)


def jacobian(field: Float[Tensor, " dimension *space"], grid: Grid) -> Float[Tensor, "dimension dimension *space"]:
    """Derivatives of p + u(p) by p in world coordinates.

    Central differences; one-sided ones at the border; none along an axis of one voxel.

    Args:
        field: (D, *S) in mm.

    Returns:
        (D, D, *S): [i, j] is the derivative of component i along world axis j; differentiable.
    """
    dimension = grid.dimension
    steps = [
        torch.gradient(field, dim=axis + 1)[0] if length > 1 else torch.zeros_like(field)
        for axis, length in enumerate(grid.shape)
    ]
    by_index = torch.stack(steps, dim=-1)  # (D, *S, D)
    by_world = grid.derivatives_to_world(by_index).movedim(-1, 1)
    identity = torch.eye(dimension, dtype=field.dtype, device=field.device)
    return by_world + identity.reshape(dimension, dimension, *[1] * dimension)


def jacobian_determinant(field: Float[Tensor, " dimension *space"], grid: Grid) -> Float[Tensor, "*space"]:
    """Volume after over volume before of the map p + u(p), at every voxel; not positive where it folds.

    Args:
        field: (D, *S) in mm.

    Returns:
        (*S), see `jacobian` for how derivatives are taken; differentiable.
    """
    j = jacobian(field, grid)
    if grid.dimension == 2:
        return j[0, 0] * j[1, 1] - j[0, 1] * j[1, 0]
    return (
        j[0, 0] * (j[1, 1] * j[2, 2] - j[1, 2] * j[2, 1])
        - j[0, 1] * (j[1, 0] * j[2, 2] - j[1, 2] * j[2, 0])
        + j[0, 2] * (j[1, 0] * j[2, 1] - j[1, 1] * j[2, 0])
    )


def _at(field: Tensor, grid: Grid, points: Tensor, offset: Tensor) -> Tensor:
    return sample_index(field, grid.to_index(points + offset.movedim(0, -1)))
