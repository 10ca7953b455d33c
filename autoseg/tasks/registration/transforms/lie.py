"""Linear maps by the matrix exponential of a Lie algebra: every coefficient vector is a valid, invertible map.

Coefficients come in one order for all kinds, so that those of a simpler kind begin those of a richer one: D
translations; D (D - 1) / 2 rotations; one scale; D - 1 stretches that keep the volume and D (D - 1) / 2 shears; D
perspectives. Zeros are the identity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from autoseg.errors import RegistrationError
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms.linear import Affine, Perspective

if TYPE_CHECKING:
    from jaxtyping import Float, Float64

Kind = Literal["translation", "rigid", "similarity", "affine", "perspective"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def basis(kind: Kind, dimension: int) -> Float64[Tensor, "generator {dimension}+1 {dimension}+1"]:
    """The generators of a kind of maps, as homogeneous matrices.

    Returns:
        (n, D + 1, D + 1) float64. A rotation generator turns array axis i towards axis j, i < j, pairs in
        lexicographic order. Generators of stretch and shear have the Frobenius norm of a rotation, sqrt(2).

    Raises:
        RegistrationError: an unknown kind, or perspective in 3D.
    """
    return _basis(kind, dimension).clone()


def matrix_of(
    coefficients: Float[Tensor, "*batch coefficient"], kind: Kind, dimension: int
) -> Float[Tensor, "*batch {dimension}+1 {dimension}+1"]:
    """exp(sum of coefficients times generators), by `torch.matrix_exp`.

    Args:
        coefficients: (..., n): translations in the unit of the points, rotations in radians, logarithms of scales.

    Returns:
        (..., D + 1, D + 1), homogeneous; differentiable. The negative coefficients give its inverse.

    Raises:
        RegistrationError: the number of coefficients is not the kind's (`basis`).
    """
    generators = _basis(kind, dimension).to(coefficients)
    if coefficients.shape[-1] != len(generators):
        raise RegistrationError(
            f"a transform of kind {kind} has other coefficients",
            got=coefficients.shape[-1],
            expected=f"{len(generators)} in {dimension}D",
        )
    return torch.matrix_exp(torch.einsum("...n,nij->...ij", coefficients, generators))


def transform_of(coefficients: Float[Tensor, " coefficient"], kind: Kind, grid: Grid) -> Affine | Perspective:
    """The map about a grid's centre whose coefficients are all in mm, so that one step size fits all.

    Every coefficient but the translations is divided by the grid's `radius`: a coefficient of one moves the voxels by
    about 1 mm, whatever it stands for. A rotation by an angle is a coefficient of radians times radius.

    Args:
        coefficients: (n,) of any float type; computed in their own.

    Returns:
        `Perspective` for that kind, else `Affine`; differentiable in the coefficients.
    """
    scale = radius(grid)
    matrix = matrix_of(coefficients / scale, kind, grid.dimension)
    centre = torch.tensor(grid.centre, dtype=matrix.dtype, device=matrix.device)
    last = grid.dimension
    # the exponential lives in points divided by the radius; back to mm
    shift, fall = matrix[:last, last] * scale, matrix[last, :last] / scale
    if kind != "perspective":
        return Affine(matrix[:last, :last], shift, centre)
    upper = torch.cat((matrix[:last, :last], shift[:, None]), dim=1)
    return Perspective(torch.cat((upper, torch.cat((fall, matrix[last, last:]))[None])), centre)


def radius(grid: Grid) -> float:
    """Root mean square distance in mm of the field of view's points from its centre (half the side of a cube)."""
    return grid.diagonal / math.sqrt(12)


@lru_cache
def _basis(kind: Kind, dimension: int) -> Tensor:
    if kind not in KINDS or (kind == "perspective" and dimension != 2):
        raise RegistrationError(
            "no such kind of transform",
            got=f"{kind} in {dimension}D",
            expected=", ".join(KINDS) + " (perspective in 2D)",
        )
    families = list(_families(dimension))[: KINDS.index(kind) + 1]
    with torch.inference_mode(False):  # the cached tensor also serves where gradients are needed
        return torch.stack([generator for family in families for generator in family])


def _families(dimension: int) -> Iterator[list[Tensor]]:
    """The generators that each kind adds to the one before it."""
    size = dimension + 1
    pairs = list(combinations(range(dimension), 2))
    yield [_entries(size, {(axis, dimension): 1.0}) for axis in range(dimension)]
    yield [_entries(size, {(j, i): 1.0, (i, j): -1.0}) for i, j in pairs]
    yield [_entries(size, {(axis, axis): 1.0 for axis in range(dimension)})]
    stretches = []
    for last in range(1, dimension):  # Helmert's contrasts: orthogonal to each other and to the scale
        unit = math.sqrt(2 / (last * (last + 1)))
        stretches.append(_entries(size, {**{(k, k): unit for k in range(last)}, (last, last): -last * unit}))
    yield stretches + [_entries(size, {(i, j): 1.0, (j, i): 1.0}) for i, j in pairs]
    yield [_entries(size, {(dimension, axis): 1.0}) for axis in range(dimension)]


def _entries(size: int, values: dict[tuple[int, int], float]) -> Tensor:
    matrix = torch.zeros((size, size), dtype=torch.float64)
    for entry, value in values.items():
        matrix[entry] = value
    return matrix
