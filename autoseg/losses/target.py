"""What a loss compares a prediction with: labels, the regions made of them, and where nothing is annotated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Target:
    """Reference labels of a batch.

    Attributes:
        labels: (B, 1, *spatial) integers 0..K; ignored voxels hold 0.
        mask: (B, 1, *spatial) bool, False at ignored voxels; None if every voxel is annotated.
        regions: training values of each region; empty for plain labels.
    """

    labels: Tensor
    mask: Tensor | None = None
    regions: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def from_labels(cls, labels: Tensor, *, ignore: int | None = None, regions: Sequence[Sequence[int]] = ()) -> Target:
        """A target from training values (B, 1, *spatial), in which `ignore` marks voxels without annotation."""
        mask = None
        if ignore is not None:
            mask = labels != ignore
            labels = labels.where(mask, 0)
        return cls(labels, mask, tuple(tuple(region) for region in regions))

    def one_hot(self) -> Tensor:
        """(B, regions, *spatial) bool: membership of each voxel in each region."""
        channels = []
        for region in self.regions:
            inside = self.labels == region[0]
            for value in region[1:]:
                inside = inside | (self.labels == value)
            channels.append(inside)
        return torch.cat(channels, dim=1)

    def downsample(self, factors: Sequence[int]) -> Target:
        """The target at a lower resolution: of each block of voxels, its centre (nearest neighbour)."""
        if all(factor == 1 for factor in factors):
            return self
        box = (slice(None), slice(None), *(slice(factor // 2, None, factor) for factor in factors))
        return Target(self.labels[box], None if self.mask is None else self.mask[box], self.regions)
