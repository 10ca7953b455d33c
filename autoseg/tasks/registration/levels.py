"""Both images of a pair at several resolutions, and which voxels can be compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.pyramid import pyramid, shapes, shrunk
from autoseg.tasks.registration.space import Grid, sample_index
from autoseg.tasks.registration.transforms import Affine

_MOST = 16  # levels of the moving image to choose from: it ends earlier
_HALF = 0.5  # share of a coarse voxel that must lie in the mask


@dataclass(frozen=True)
class Level:
    """Both images at one resolution.

    Attributes:
        fixed, moving: (C, *S).
        fixed_grid, moving_grid: where their voxels lie.
        fixed_mask, moving_mask: (*S) bool, or None where all voxels count.
    """

    fixed: Tensor
    moving: Tensor
    fixed_grid: Grid
    moving_grid: Grid
    fixed_mask: Tensor | None
    moving_mask: Tensor | None

    @property
    def step(self) -> float:
        """Geometric mean of the fixed image's spacings, mm."""
        return math.prod(self.fixed_grid.spacing) ** (1 / self.fixed_grid.dimension)

    def index_map(self, transform: Affine) -> tuple[Tensor, Tensor]:
        """A linear map from fixed to moving indices, which are `index @ matrix + start`; differentiable.

        Returns:
            matrix (D, D) and start (D,), of the images' dtype. (One product per voxel instead of three.)
        """
        like = transform.matrix
        corners = torch.cat((like.new_zeros(1, transform.dimension), torch.eye(transform.dimension).to(like)))
        moved = self.moving_grid.to_index(transform(self.fixed_grid.to_world(corners)))
        return (moved[1:] - moved[0]).to(self.fixed), moved[0].to(self.fixed)

    def moving_index(self, transform: Affine) -> Tensor:
        """Where a linear map takes the fixed voxels, as moving indices (*S, D); differentiable."""
        matrix, start = self.index_map(transform)
        return self.fixed_grid.index(self.fixed) @ matrix + start

    def warped(self, index: Tensor) -> Tensor:
        """The moving image at moving indices (*S, D): (C, *S), continued by its border."""
        return sample_index(self.moving, index)

    def seen(self, index: Tensor) -> Tensor:
        """Which fixed voxels count, (*S) bool, if their partners lie at these moving indices (*S, D)."""
        index = index.detach()
        last = torch.tensor(self.moving_grid.shape, dtype=index.dtype, device=index.device) - _HALF
        seen = ((index >= -_HALF) & (index <= last)).all(dim=-1)
        if self.fixed_mask is not None:
            seen = seen & self.fixed_mask
        if self.moving_mask is not None:
            seen = seen & (sample_index(self.moving_mask[None].to(index), index)[0] >= _HALF)
        return seen


def levels_of(pair: ImagePair, count: int, *, least: int, many: int | None = None) -> list[Level]:
    """The pair at several resolutions, coarse to fine.

    The fixed image's levels are those of `pyramid`; beside each stands the moving image's level whose spacing is
    closest, so that both show details of the same size.

    Args:
        pair: the images.
        count: of levels, at most.
        least: voxels that an axis keeps.
        many: levels with more voxels than this are left out, as far as a coarser one is left.
    """
    levels = pyramid(pair.fixed, pair.fixed_grid, count, least=least)
    if many is not None:
        levels = [level for level in levels if math.prod(level[1].shape) <= many] or levels[:1]
    choice = pyramid(pair.moving, pair.moving_grid, _MOST, least=least)
    return [_level(pair, fixed, grid, choice) for fixed, grid in levels]


def level_count(grid: Grid, least: int) -> int:
    """How many levels a grid has."""
    return len(shapes(grid, _MOST, least=least))


def _level(pair: ImagePair, fixed: Tensor, grid: Grid, choice: list[tuple[Tensor, Grid]]) -> Level:
    wanted = math.log(min(grid.spacing))
    moving, moving_grid = min(choice, key=lambda level: abs(math.log(min(level[1].spacing)) - wanted))
    masks = _shrunk_mask(pair.fixed_mask, grid), _shrunk_mask(pair.moving_mask, moving_grid)
    return Level(fixed, moving, grid, moving_grid, *masks)


def _shrunk_mask(mask: Tensor | None, grid: Grid) -> Tensor | None:
    if mask is None or mask.shape == grid.shape:
        return mask
    return shrunk(mask[None].float(), grid.shape)[0] >= _HALF
