"""Dice plus cross-entropy, for labels (softmax) and regions (sigmoid): the losses of nnU-Net."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from autoseg.losses.overlap import soft_dice
from autoseg.losses.target import Target


def dice_cross_entropy(logits: Tensor, target: Target, *, batch_dice: bool) -> Tensor:
    """Cross-entropy minus the soft Dice of the foreground (Isensee et al., 2021, doi:10.1038/s41592-020-01008-z).

    Args:
        logits: (B, labels with background, *spatial).
        target: labels of the same spatial shape.
        batch_dice: Dice over the batch as one volume.

    Returns:
        A scalar; -1 is perfect. A batch without any annotated voxel gives 0 and no gradient.
    """
    logits = logits.float()
    labels, mask = target.labels.long(), target.mask
    log_probabilities = functional.log_softmax(logits, dim=1)
    negative_log_likelihood = -log_probabilities.gather(1, labels)
    if mask is None:
        cross_entropy = negative_log_likelihood.mean()
    else:
        cross_entropy = (negative_log_likelihood * mask).sum() / mask.sum().clamp_min(1)
    classes = torch.arange(1, logits.shape[1], device=logits.device).view(1, -1, *(1,) * (logits.ndim - 2))
    dice = soft_dice(log_probabilities[:, 1:].exp(), labels == classes, batch=batch_dice, mask=mask)
    return cross_entropy - dice


def dice_binary_cross_entropy(logits: Tensor, target: Target, *, batch_dice: bool) -> Tensor:
    """Binary cross-entropy minus the soft Dice, a sigmoid output a region; regions may overlap.

    Args:
        logits: (B, regions, *spatial).
        target: labels whose `one_hot` has the same shape.
        batch_dice: Dice over the batch as one volume.

    Returns:
        A scalar; -1 is perfect.
    """
    logits = logits.float()
    regions, mask = target.one_hot().to(logits.dtype), target.mask
    entropy = functional.binary_cross_entropy_with_logits(logits, regions, reduction="none")
    if mask is None:
        cross_entropy = entropy.mean()
    else:
        cross_entropy = (entropy * mask).sum() / mask.sum().clamp_min(1)
    return cross_entropy - soft_dice(logits.sigmoid(), regions, batch=batch_dice, mask=mask)
