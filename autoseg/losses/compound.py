"""Dice plus cross-entropy, for labels (softmax) and regions (sigmoid): the losses of nnU-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

from autoseg.errors import ConfigurationError
from autoseg.losses.overlap import soft_dice
from autoseg.losses.target import Target

if TYPE_CHECKING:
    from jaxtyping import Float


def dice_cross_entropy(
    logits: Float[Tensor, "batch output *space"], target: Target, *, batch_dice: bool
) -> Float[Tensor, ""]:
    """Cross-entropy minus the soft Dice of the foreground (Isensee et al., 2021, doi:10.1038/s41592-020-01008-z).

    Args:
        logits: (B, labels with background, *spatial).
        target: labels of the same spatial shape; with regions the loss is `dice_binary_cross_entropy`.
        batch_dice: Dice over the batch as one volume.

    Returns:
        A scalar; -1 is perfect. A batch without any annotated voxel gives -1 and no gradient.
    """
    if target.regions:
        return dice_binary_cross_entropy(logits, target, batch_dice=batch_dice)
    log_probabilities = functional.log_softmax(logits.float(), dim=1)
    negative_log_likelihood = -log_probabilities.gather(1, target.labels.long())
    members = target.members(logits.shape[1])
    dice = soft_dice(log_probabilities[:, 1:].exp(), members, target, batch=batch_dice)
    return target.mean(negative_log_likelihood, target.mask) - dice


def dice_binary_cross_entropy(
    logits: Float[Tensor, "batch output *space"], target: Target, *, batch_dice: bool
) -> Float[Tensor, ""]:
    """Binary cross-entropy minus the soft Dice, a sigmoid output per region; regions may overlap.

    As in nnU-Net, the cross-entropy is the mean over voxels and regions, but where voxels are ignored the mean over
    voxels of the sum over regions.

    Args:
        logits: (B, regions, *spatial).
        target: labels with as many regions.
        batch_dice: Dice over the batch as one volume.

    Returns:
        A scalar; -1 is perfect.

    Raises:
        ConfigurationError: the target has no regions.
    """
    if not target.regions:
        raise ConfigurationError(
            "a loss of binary cross-entropy needs labels that are regions", remedy="use dice-cross-entropy"
        )
    logits = logits.float()
    members = target.members(logits.shape[1]).to(logits.dtype)
    entropy = functional.binary_cross_entropy_with_logits(logits, members, reduction="none")
    if target.mask is not None:
        entropy = entropy.sum(1, keepdim=True)
    return target.mean(entropy, target.mask) - soft_dice(logits.sigmoid(), members, target, batch=batch_dice)
