"""Which blocks of a patch are hidden: masks for masked autoencoding, contexts and targets for joint embeddings.

Masks live on the grid of the encoder's coarsest voxels, so that a hidden block is hidden at every stage. They are drawn
from the generator that is handed in, whose key makes them the same on every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, prod
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from autoseg.errors import TrainingError
from autoseg.records import Record

Share = Annotated[float, Field(gt=0, le=1)]
_ATTEMPTS = 20


def block_mask(rng: np.random.Generator, grid: Sequence[int], share: float) -> np.ndarray:
    """A share of the cells of a grid hidden, each equally likely: bool (*grid), True where hidden.

    Exactly round(share x cells) are hidden, but at least one and not all.

    Raises:
        TrainingError: a grid of fewer than two cells.

    Source: He et al. 2022 (MAE), arXiv:2111.06377 (75 %); Tian et al. 2023 (SparK), arXiv:2301.03580 (60 %).
    """
    cells = _cells(grid)
    count = min(max(round(share * cells), 1), cells - 1)
    mask = np.zeros(cells, dtype=bool)
    mask[rng.permutation(cells)[:count]] = True
    return mask.reshape(tuple(grid))


@dataclass(frozen=True)
class ContextAndTargets:
    """What a student sees of a patch and what it is to predict.

    Attributes:
        context: bool (*grid), at least one cell.
        targets: bool (M, *grid), each a box that the context has no cell of.
    """

    context: np.ndarray
    targets: np.ndarray


class TargetBlocks(Record):
    """How context and target blocks are drawn (Assran et al. 2023, I-JEPA, arXiv:2301.08243, section 3).

    Attributes:
        targets: blocks to predict; they may overlap.
        target_share: range of a target's share of the cells.
        target_elongation: range of the factor by which a target is longer along one axis than a scaled copy of the
            grid; over all axes the factors cancel.
        context_share: range of the context's share, before the targets are taken out of it.
        least_context: share of the cells that the context keeps.
    """

    targets: int = Field(default=4, ge=1)
    target_share: tuple[Share, Share] = (0.15, 0.2)
    target_elongation: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.75, 1.5)
    context_share: tuple[Share, Share] = (0.85, 1.0)
    least_context: Annotated[float, Field(ge=0, lt=1)] = 0.2

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("target_share", "target_elongation", "context_share"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: {low} is more than {high}")
        return self

    def draw(self, rng: np.random.Generator, grid: Sequence[int]) -> ContextAndTargets:
        """One context and its targets.

        On a grid so small that a draw leaves too little context, fewer cells are asked for: the last targets become
        copies of the first, then the context is all that is no target.

        Raises:
            TrainingError: a grid of fewer than two cells.
        """
        least = max(1, round(self.least_context * _cells(grid)))
        for _ in range(_ATTEMPTS):
            targets = np.stack([self._target(rng, grid) for _ in range(self.targets)])
            context = _box(rng, grid, rng.uniform(*self.context_share), (1.0, 1.0)) & ~targets.any(0)
            if context.sum() >= least:
                return ContextAndTargets(context, targets)
        targets = np.broadcast_to(targets[:1], targets.shape).copy()
        if targets[0].all():
            targets[:] = block_mask(rng, grid, 0.5)
        return ContextAndTargets(~targets[0], targets)

    def _target(self, rng: np.random.Generator, grid: Sequence[int]) -> np.ndarray:
        return _box(rng, grid, rng.uniform(*self.target_share), self.target_elongation)


def _box(rng: np.random.Generator, grid: Sequence[int], share: float, elongation: tuple[float, float]) -> np.ndarray:
    """A box of about that share of the cells, anywhere on the grid."""
    free = [axis for axis, cells in enumerate(grid) if cells > 1]
    low, high = elongation
    factors = np.exp(rng.uniform(log(low), log(high), size=len(free)))
    factors *= (share / factors.prod()) ** (1 / len(free))
    mask = np.zeros(tuple(grid), dtype=bool)
    region: list[slice] = [slice(None)] * len(grid)
    for axis, factor in zip(free, factors, strict=True):
        length = int(np.clip(round(grid[axis] * factor), 1, grid[axis]))
        start = int(rng.integers(grid[axis] - length + 1))
        region[axis] = slice(start, start + length)
    mask[tuple(region)] = True
    return mask


def _cells(grid: Sequence[int]) -> int:
    if prod(grid) < 2:
        raise TrainingError(
            "a patch of a single block cannot be masked",
            got=f"{tuple(grid)} blocks",
            expected="at least two",
            remedy="choose a larger patch or a network with fewer stages",
        )
    return prod(grid)
