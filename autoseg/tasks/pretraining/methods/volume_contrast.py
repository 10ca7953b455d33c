"""Contrast by position in the volume (VoCo, Wu et al. 2024, arXiv:2402.17300)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from autoseg.tasks.pretraining.batch import DrawnExample, ViewBatch
from autoseg.tasks.pretraining.drawing import drawn, grid_and_crop
from autoseg.tasks.pretraining.heads import Norm, byol_mlp, norm_for
from autoseg.tasks.pretraining.losses.position import volume_contrast
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import Outputs, ViewMethod, watched
from autoseg.tasks.pretraining.views import Shape


class VolumeContrast(ViewMethod):
    """A crop is to be as similar to each base crop of a grid as they overlap, so that position is learned (VoCo).

    Axes of so few blocks that their parts would have less than two are not divided.

    Attributes:
        divisions: base crops along each axis that is long enough.
        spread_weight: of the term that keeps base crops unlike.
        hidden, outputs: widths of the projector.
        norm: of the projector; None takes batch norm, or layer norm for small batches.
    """

    compares: ClassVar[bool] = True

    divisions: int = Field(default=2, ge=2)
    spread_weight: float = Field(default=1.0, ge=0)
    hidden: int = Field(default=512, ge=1)
    outputs: int = Field(default=128, ge=1)
    norm: Norm | None = None

    @property
    def counts(self) -> tuple[int, ...]:
        """Base crops along each axis: at least two in all, on the longest axis where none is long enough."""
        grid = self.setting.grid
        counts = [self.divisions if cells >= 2 * self.divisions else 1 for cells in grid]
        if max(counts) == 1:
            counts[grid.index(max(grid))] = self.divisions
        return tuple(counts)

    def draw(self, rng: np.random.Generator, shape: Shape) -> DrawnExample:
        """The base crops, then a crop among them, and its "shares" (bases,)."""
        setting, counts = self.setting, self.counts
        small = tuple(
            min(n, max(2 if cells > 1 else 1, cells // count) * block)
            for n, cells, count, block in zip(setting.frame.size, setting.grid, counts, setting.block, strict=True)
        )
        views, shares = grid_and_crop(rng, shape, setting.frame, small, counts, setting.views, setting.channels)
        return drawn(rng, views, {"shares": shares})

    def heads(self) -> nn.ModuleDict:
        """The projector."""
        norm = self.norm or norm_for(self.setting.samples)
        return nn.ModuleDict(
            {"projector": byol_mlp(self.setting.vector, norm, hidden=self.hidden, outputs=self.outputs)}
        )

    def online(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """Projections "bases" (B, M, outputs) and "crop" (B, outputs)."""
        vectors = network.vectors(batch.views)
        *bases, crop = (network.heads["projector"](vector) for vector in vectors)
        return {"bases": torch.stack(bases, dim=1), "crop": crop, "embedding": watched(vectors[-1:])}

    def loss(self, online: Outputs, target: Outputs, batch: ViewBatch) -> Tensor:
        """Similarities against overlaps, and base crops against each other."""
        return volume_contrast(online["crop"], online["bases"], batch.extra["shares"], spread_weight=self.spread_weight)
