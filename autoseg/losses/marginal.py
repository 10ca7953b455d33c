"""Losses of samples in which not every class was looked for: what a label of 0 leaves open is taken as one label."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from autoseg.losses.deep_supervision import Loss
from autoseg.losses.target import Target

if TYPE_CHECKING:
    from jaxtyping import Float, Float32

_NOTHING = -100.0
"""Logit of a probability that is 0 in float32 and has a finite logarithm."""


def marginal(loss: Loss) -> Loss:
    """Any loss of logits and target, over the labels that were looked for in each sample.

    Where only a set A of classes was looked for, a voxel without label is background or of any class outside A, so that
    their probabilities are summed, and the loss is that of the merged label set (Shi et al. 2021, "Marginal loss and
    exclusion loss for partially supervised multi-organ segmentation", doi:10.1016/j.media.2021.101979, without the
    exclusion loss; a label-set loss in the sense of Fidon et al. 2021, arXiv:2107.03846). Of regions, whose outputs
    stand by themselves, those that were not looked for are left out.

    A target in which every class was looked for everywhere (`annotated` is None) is handed on as it is.
    """

    def over_merged_labels(logits: Float[Tensor, "batch output *space"], target: Target) -> Float[Tensor, ""]:
        return loss(*merged(logits, target))

    return over_merged_labels


def merged(
    logits: Float[Tensor, "batch output *space"], target: Target
) -> tuple[Float[Tensor, "batch output *space"], Target]:
    """Logits and target of each sample's own label set, in the shapes that they had.

    With labels, the background's logit becomes the log-sum-exp of itself and of all classes that were not looked for;
    these get probability 0, by logits at a fixed distance below the log-sum-exp of all, and no voxels. The softmax of
    the channels is then that of the merged labels, and neither the probabilities nor their logarithms in the channels
    of the other classes have a gradient, whatever a loss makes of them. Regions that were not looked for get a
    constant.

    Args:
        logits: (B, labels with background, *spatial), or (B, regions, *spatial).
        target: with what was looked for in each sample; None gives back both arguments.

    Returns:
        Logits, float32 where anything is merged, and the target with 0 for labels that were not looked for.
    """
    annotated = target.annotated
    if annotated is None:
        return logits, target
    axes = (1,) * (logits.ndim - 2)
    logits = logits.float()
    if target.regions:
        return torch.where(annotated.view(*annotated.shape, *axes), logits, _NOTHING), target
    kept = torch.cat([torch.ones_like(annotated[:, :1]), annotated], dim=1)
    labels = target.labels.where(_of_labels(kept, target.labels), 0)
    return _merge(logits, kept.view(*kept.shape, *axes)), replace(target, labels=labels)


def _merge(logits: Float32[Tensor, "batch output *space"], kept: Tensor) -> Float32[Tensor, "batch output *space"]:
    """See `merged`; `kept` is bool (B, outputs, 1, ...), True for the background."""
    total = logits.logsumexp(1, keepdim=True)
    apart = kept.clone()
    apart[:, 0] = False  # what is merged is all that stands not apart: the background and what was not looked for
    background = logits.masked_fill(apart, float("-inf")).logsumexp(1, keepdim=True)
    foreground = torch.where(kept[:, 1:], logits[:, 1:], total + _NOTHING)
    return torch.cat([background, foreground], dim=1)


def _of_labels(kept: Tensor, labels: Tensor) -> Tensor:
    """Of each voxel whether its label is kept: bool (B, 1, *spatial) from (B, outputs)."""
    return kept.gather(1, labels.flatten(1).long()).view(labels.shape)
