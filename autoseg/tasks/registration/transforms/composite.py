"""Several transforms one after another, and any transform as displacements on a grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms.bspline import BSpline
from autoseg.tasks.registration.transforms.displacement import Displacement, Velocity
from autoseg.tasks.registration.transforms.linear import Affine
from autoseg.tasks.registration.transforms.protocol import SpatialTransform

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Composite:
    """Transforms in the order in which they are applied: `Composite((a, b))(p)` is b(a(p)).

    ITK's `CompositeTransform` applies the transform that was added last first; `registration.files` turns the order.

    Attributes:
        parts: at least one, all of one dimension.
    """

    parts: tuple[SpatialTransform, ...]

    @property
    def dimension(self) -> int:
        return self.parts[0].dimension

    def __call__(self, points: Float[Tensor, "*points dimension"]) -> Float[Tensor, "*points dimension"]:
        for part in self.parts:
            points = part(points)
        return points

    def inverse(self) -> Composite:
        """Each part's inverse, the last one first."""
        return Composite(tuple(part.inverse() for part in reversed(self.parts)))


def compose(*transforms: SpatialTransform) -> SpatialTransform:
    """One transform that applies these in the order given: composites opened, neighbouring affine maps joined.

    Args:
        transforms: at least one.

    Returns:
        A `Composite`, or the one transform that is left.
    """
    parts: list[SpatialTransform] = []
    for part in _opened(transforms):
        last = parts[-1] if parts else None
        if isinstance(part, Affine) and isinstance(last, Affine):
            parts[-1] = last.then(part)
        else:
            parts.append(part)
    return parts[0] if len(parts) == 1 else Composite(tuple(parts))


def is_linear(transform: SpatialTransform) -> bool:
    """Whether a transform is affine, or a composite of affine maps alone."""
    return isinstance(compose(transform), Affine)


def as_displacement(
    transform: SpatialTransform, grid: Grid, *, like: Float[Tensor, " ..."] | None = None
) -> Displacement:
    """Any transform as the displacements of a grid's voxels; differentiable.

    Args:
        grid: usually the fixed image's.
        like: gives dtype and device; by default the transform's own field's, or float32 on the CPU.

    Returns:
        What is already a displacement on this grid is returned as it is.
    """
    parts = tuple(_opened((transform,)))
    like = _example(parts) if like is None else like
    field = _own_field(parts[0], grid)
    home = grid.points(like)
    if field is None:
        points = parts[0](home)
    elif len(parts) == 1:
        return Displacement(grid, field.to(like))
    else:
        points = home + field.to(like).movedim(0, -1)
    for part in parts[1:]:
        points = part(points)
    return Displacement(grid, (points - home).movedim(-1, 0))


def _opened(transforms: tuple[SpatialTransform, ...]) -> Iterator[SpatialTransform]:
    for transform in transforms:
        if isinstance(transform, Composite):
            yield from _opened(transform.parts)
        else:
            yield transform


def _own_field(transform: SpatialTransform, grid: Grid) -> Tensor | None:
    """The field of a transform that has one on this very grid: no look-up is needed there."""
    if isinstance(transform, (Velocity, BSpline)) and transform.grid == grid:
        transform = transform.displacement
    return transform.field if isinstance(transform, Displacement) and transform.grid == grid else None


def _example(parts: tuple[SpatialTransform, ...]) -> Tensor:
    for part in parts:
        if isinstance(part, (Displacement, Velocity)):
            return part.field
        if isinstance(part, BSpline):
            return part.coefficients
    return torch.zeros((), dtype=torch.float32)
