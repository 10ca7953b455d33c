"""Free-form deformation: displacements by cubic B-splines on a coarse lattice of control points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from autoseg.errors import RegistrationError
from autoseg.tasks.registration.cubic_interpolation import spline_weights, weighted_sum
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms.displacement import Displacement

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class BSpline:
    """T(p) = p + u(p), u a tensor product of uniform cubic B-splines, continued by its border outside of the grid.

    Attributes:
        grid: the image's grid, over which u is defined.
        coefficients: (D, *lattice) in mm; `lattice` of the same grid and spacing says how many.
        spacing: (D,) mm between control points along each array axis.

    Raises:
        RegistrationError: coefficients of another shape.

    Source: Rueckert et al. 1999, IEEE TMI 18(8).
    """

    grid: Grid
    coefficients: Float[Tensor, " dimension *lattice"]
    spacing: tuple[float, ...]

    def __post_init__(self) -> None:
        expected = (self.grid.dimension, *lattice(self.grid, self.spacing))
        if tuple(self.coefficients.shape) != expected:
            raise RegistrationError(
                "the B-spline's coefficients do not fit its grid and spacing",
                got=tuple(self.coefficients.shape),
                expected=expected,
            )

    @classmethod
    def zeros(
        cls,
        grid: Grid,
        spacing: Sequence[float],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> BSpline:
        """The free-form deformation that moves nothing.

        Args:
            grid: the image's.
            spacing: (D,) mm between control points.
            dtype: of the coefficients.
            device: where they lie.
        """
        shape = (grid.dimension, *lattice(grid, spacing))
        return cls(grid, torch.zeros(shape, dtype=dtype, device=device), tuple(spacing))

    @property
    def dimension(self) -> int:
        return self.grid.dimension

    @cached_property
    def displacement(self) -> Displacement:
        """The displacements of the grid's voxels, one small matrix per axis; differentiable in the coefficients."""
        field = self.coefficients
        for axis, length in enumerate(self.grid.shape):
            index = torch.arange(length, dtype=field.dtype, device=field.device)
            base, weights = self._support(index[:, None], axis)
            matrix = field.new_zeros((length, field.shape[axis + 1]))
            columns = base + torch.arange(-1, 3, device=field.device)
            matrix.scatter_(1, columns, weights[:, 0])
            field = (field.movedim(axis + 1, -1) @ matrix.T).movedim(-1, axis + 1)
        return Displacement(self.grid, field)

    def __call__(self, points: Float[Tensor, "*points dimension"]) -> Float[Tensor, "*points dimension"]:
        index = self.grid.to_index(points)
        supports = [self._support(index[..., axis, None], axis) for axis in range(self.dimension)]
        base = torch.cat([first for first, _ in supports], dim=-1)
        weights = torch.cat([each for _, each in supports], dim=-2)
        return points + weighted_sum(self.coefficients.to(points), base, weights).movedim(0, -1)

    def inverse(self) -> Displacement:
        """The inverse of the displacements of the grid's voxels, see `Displacement.inverse`."""
        return self.displacement.inverse()

    def _support(self, index: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Lattice index of the control point at or before each index (..., 1), and the weights (..., 1, 4)."""
        length = self.grid.shape[axis]
        position = index.clamp(0, length - 1) * (self.grid.spacing[axis] / self.spacing[axis])  # in control points
        intervals = self.coefficients.shape[axis + 1] - 3
        base = position.detach().floor().clamp(max=intervals - 1)  # the last voxel belongs to the last interval
        return base.long() + 1, spline_weights(position - base)


def lattice(grid: Grid, spacing: Sequence[float]) -> tuple[int, ...]:
    """Control points along each axis: one before the first voxel, and enough to carry the last one.

    The control point of lattice index 1 stands at the first voxel's centre.

    Raises:
        RegistrationError: another number of spacings than axes, or one that is not above zero.
    """
    if len(spacing) != grid.dimension or not all(value > 0 for value in spacing):
        raise RegistrationError(
            "the spacing of control points does not fit the image",
            got=tuple(spacing),
            expected=f"{grid.dimension} numbers above zero, in mm",
        )
    extents = ((n - 1) * step for n, step in zip(grid.shape, grid.spacing, strict=True))
    intervals = (max(1, math.ceil(extent / step - 1e-9)) for extent, step in zip(extents, spacing, strict=True))
    return tuple(count + 3 for count in intervals)
