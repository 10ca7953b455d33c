"""What a loss compares a prediction with: labels, the regions made of them, and where nothing is annotated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Integer


def _alone(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True)
class Target:
    """Reference labels of a batch.

    Attributes:
        labels: (B, 1, *spatial) integers 0..K; ignored voxels hold 0.
        mask: (B, 1, *spatial) bool, False at ignored voxels; None if every voxel is annotated.
        regions: training values of each region; empty for plain labels.
        across: adds a tensor up over the processes that share the batch, differentiably; by default there is one.
    """

    labels: Integer[Tensor, "batch 1 *space"]
    mask: Bool[Tensor, "batch 1 *space"] | None = None
    regions: tuple[tuple[int, ...], ...] = ()
    across: Callable[[Tensor], Tensor] = _alone

    @classmethod
    def from_labels(
        cls,
        labels: Integer[Tensor, "batch 1 *space"],
        *,
        ignore: int | None = None,
        regions: Sequence[Sequence[int]] = (),
        across: Callable[[Tensor], Tensor] | None = None,
    ) -> Target:
        """A target from training values (B, 1, *spatial), in which `ignore` marks voxels without annotation.

        Args:
            labels: (B, 1, *spatial), integers.
            ignore: the value of voxels that do not count; None where all do.
            regions: training values of each region; empty for plain labels.
            across: adds a tensor up over the processes that share the batch; None where there is one.
        """
        mask = None
        if ignore is not None:
            mask = labels != ignore
            labels = labels.where(mask, 0)
        return cls(labels, mask, tuple(tuple(region) for region in regions), across or _alone)

    def one_hot(self) -> Bool[Tensor, "batch region *space"]:
        """(B, regions, *spatial) bool: membership of each voxel in each region."""
        channels = []
        for region in self.regions:
            inside = self.labels == region[0]
            for value in region[1:]:
                inside = inside | (self.labels == value)
            channels.append(inside)
        return torch.cat(channels, dim=1)

    def members(self, outputs: int) -> Bool[Tensor, "batch class *space"]:
        """(B, C, *spatial) bool: membership of each voxel in each region, or in each label but the background.

        Args:
            outputs: channels of the logits: the number of regions, or that of the labels with the background.
        """
        if self.regions:
            return self.one_hot()
        classes = torch.arange(1, outputs, device=self.labels.device)
        return self.labels == classes.view(1, -1, *(1,) * (self.labels.ndim - 2))

    def totals(self, *values: Float[Tensor, "*shape"]) -> Sequence[Float[Tensor, "*shape"]]:
        """Tensors of one shape, each added up over the processes that share the batch, in one exchange."""
        return values if self.across is _alone else self.across(torch.stack(values)).unbind()

    def mean(
        self, values: Float[Tensor, "batch ..."], mask: Bool[Tensor, "batch 1 ..."] | None = None
    ) -> Float[Tensor, ""]:
        """Mean of values (B, ...) over the whole batch, also where it is spread over processes.

        A loss that is made of such means, and of ratios of `totals`, is the same whether one process has the batch or
        several have parts of it.

        Args:
            values: one value per sample, class or voxel, at least one in each process.
            mask: which of them count, (B, 1, ...) against `values`; None for all. None left gives 0.
        """
        if mask is None and self.across is _alone:
            return values.mean()
        if mask is None:
            count = values.new_full((), values.numel())
        else:
            values, count = values * mask, mask.sum() * (values.numel() // mask.numel())
        total, count = self.totals(values.sum(), count.to(values.dtype))
        return total / count.clamp_min(1)

    def downsample(self, factors: Sequence[int]) -> Target:
        """The target at a lower resolution: of each block of voxels, its centre (nearest neighbour)."""
        if all(factor == 1 for factor in factors):
            return self
        box = (slice(None), slice(None), *(slice(factor // 2, None, factor) for factor in factors))
        return replace(self, labels=self.labels[box], mask=None if self.mask is None else self.mask[box])
