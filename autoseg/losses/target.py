"""What a loss compares a prediction with: labels, the regions made of them, and what of it is annotated."""

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
        annotated: (B, C) bool, which foreground labels or regions were looked for in each sample; None for all. Losses
            see such a target after `marginal.merged`, and need not look at this themselves: `members`, `mean` and
            `mean_over_classes` leave out what was not looked for.
    """

    labels: Integer[Tensor, "batch 1 *space"]
    mask: Bool[Tensor, "batch 1 *space"] | None = None
    regions: tuple[tuple[int, ...], ...] = ()
    across: Callable[[Tensor], Tensor] = _alone
    annotated: Bool[Tensor, "batch class"] | None = None

    @classmethod
    def from_labels(
        cls,
        labels: Integer[Tensor, "batch 1 *space"],
        *,
        ignore: int | None = None,
        regions: Sequence[Sequence[int]] = (),
        across: Callable[[Tensor], Tensor] | None = None,
        annotated: Bool[Tensor, "batch class"] | None = None,
    ) -> Target:
        """A target from training values (B, 1, *spatial), in which `ignore` marks voxels without annotation.

        Args:
            labels: (B, 1, *spatial), integers.
            ignore: the value of voxels that do not count; None where all do.
            regions: training values of each region; empty for plain labels.
            across: adds a tensor up over the processes that share the batch; None where there is one.
            annotated: which foreground labels or regions were looked for in each sample; None for all.
        """
        mask = None
        if ignore is not None:
            mask = labels != ignore
            labels = labels.where(mask, 0)
        return cls(labels, mask, tuple(tuple(region) for region in regions), across or _alone, annotated)

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

        A region or label that was not looked for in a sample has no members there.

        Args:
            outputs: channels of the logits: the number of regions, or that of the labels with the background.
        """
        if self.regions:
            members = self.one_hot()
        else:
            classes = torch.arange(1, outputs, device=self.labels.device)
            members = self.labels == classes.view(1, -1, *(1,) * (self.labels.ndim - 2))
        return members if self.annotated is None else members & _columns(self.annotated, members.ndim)

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
            values: one value per sample, class or voxel, at least one in each process. Where they have a column for
                each class, those of classes that were not looked for in a sample do not count.
            mask: which of them count, (B, 1, ...) against `values`; None for all. None left gives 0.
        """
        # A single class is annotated in every case, so that a column of voxels is not taken for one of classes.
        if self.annotated is not None and values.shape[:2] == self.annotated.shape:
            columns = _columns(self.annotated, values.ndim)
            mask = columns if mask is None else mask & columns
        if mask is None and self.across is _alone:
            return values.mean()
        if mask is None:
            count = values.new_full((), values.numel())
        else:
            values, count = values * mask, mask.sum() * (values.numel() // mask.numel())
        total, count = self.totals(values.sum(), count.to(values.dtype))
        return total / count.clamp_min(1)

    def mean_over_classes(self, ratios: Float[Tensor, "*samples class"]) -> Float[Tensor, ""]:
        """Mean of a value per class, such as Dice: (C,) of the whole batch, or (B, C) of each sample.

        Of the batch those classes count that were looked for in any of its samples, of a sample those that were in it.
        """
        if ratios.ndim > 1:
            return self.mean(ratios)
        if self.annotated is None:
            return ratios.mean()
        (samples,) = self.totals(self.annotated.sum(0).to(ratios.dtype))
        counted = samples > 0
        return ratios.where(counted, 0).sum() / counted.sum().clamp_min(1)

    def downsample(self, factors: Sequence[int]) -> Target:
        """The target at a lower resolution: of each block of voxels, its centre (nearest neighbour)."""
        if all(factor == 1 for factor in factors):
            return self
        box = (slice(None), slice(None), *(slice(factor // 2, None, factor) for factor in factors))
        return replace(self, labels=self.labels[box], mask=None if self.mask is None else self.mask[box])


def _columns(annotated: Bool[Tensor, "batch class"], axes: int) -> Bool[Tensor, "batch class ..."]:
    """The same with as many axes as another tensor, to be broadcast."""
    return annotated.view(*annotated.shape, *(1,) * (axes - 2))
