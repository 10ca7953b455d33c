"""Maps held by vectors on a grid: a displacement at every voxel, or a velocity that is followed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from autoseg.tasks.registration.space import Grid, sample
from autoseg.tasks.registration.transforms.fields import exponential, invert_field

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Displacement:
    """T(p) = p + u(p), u interpolated linearly and continued by its border outside of the grid.

    (ITK moves points outside of a field not at all.)

    Attributes:
        grid: where the vectors stand.
        field: (D, *S) in mm.
    """

    grid: Grid
    field: Float[Tensor, " dimension *space"]

    @classmethod
    def zeros(cls, grid: Grid, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Displacement:
        """The displacement that moves nothing."""
        return cls(grid, torch.zeros((grid.dimension, *grid.shape), dtype=dtype, device=device))

    @property
    def dimension(self) -> int:
        return self.grid.dimension

    def __call__(self, points: Float[Tensor, "*points dimension"]) -> Float[Tensor, "*points dimension"]:
        return points + sample(self.field.to(points), self.grid, points).movedim(0, -1)

    def inverse(self) -> Displacement:
        """The inverse on the same grid, by `fields.invert_field`, which also tells how exact it is."""
        return Displacement(self.grid, invert_field(self.field, self.grid).field)


@dataclass(frozen=True, eq=False)
class Velocity:
    """T follows a stationary velocity field for one unit of time; smooth velocities give invertible maps.

    Attributes:
        grid: where the vectors stand.
        field: (D, *S) in mm.
        steps: squarings of `fields.exponential`.
    """

    grid: Grid
    field: Float[Tensor, " dimension *space"]
    steps: int = 7

    @property
    def dimension(self) -> int:
        return self.grid.dimension

    @cached_property
    def displacement(self) -> Displacement:
        """The map as displacements on the same grid; differentiable in `field`."""
        return Displacement(self.grid, exponential(self.field, self.grid, self.steps))

    def __call__(self, points: Float[Tensor, "*points dimension"]) -> Float[Tensor, "*points dimension"]:
        return self.displacement(points)

    def inverse(self) -> Velocity:
        """The way back, along the same paths: exact but for interpolation."""
        return Velocity(self.grid, -self.field, self.steps)
