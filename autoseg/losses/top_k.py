"""Dice plus the cross-entropy of the hardest voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from autoseg.losses.cross_entropy import voxel_cross_entropy
from autoseg.losses.overlap import dice
from autoseg.losses.target import Target

if TYPE_CHECKING:
    from jaxtyping import Float

SHARE = 0.1
"""Share of the voxels whose cross-entropy counts (nnU-Net's k = 10 %)."""


def dice_top_k_cross_entropy(
    logits: Float[Tensor, "batch output *space"], target: Target, *, batch_dice: bool
) -> Float[Tensor, ""]:
    """Cross-entropy of the tenth of the voxels where it is highest (Wu et al., 2016, arXiv:1605.06885), minus Dice.

    nnU-Net's DC_and_topk_loss: the hardest voxels are those of the whole batch, ignored ones have cross-entropy 0.
    With regions, each voxel of each region (sigmoid) is one of those that the tenth is taken of. Processes that
    share a batch each take the tenth of their own samples: finding the hardest of all would need every voxel of
    every process in one place, so that this loss depends a little on the number of processes.

    Args:
        logits: (B, labels with background, *spatial), or (B, regions, *spatial).
        target: labels of the same spatial shape.
        batch_dice: Dice over the batch as one volume.

    Returns:
        A scalar; -1 is perfect.
    """
    entropy = voxel_cross_entropy(logits, target)
    if target.mask is not None:
        entropy = entropy * target.mask
    hardest = entropy.flatten().topk(max(1, int(entropy.numel() * SHARE)), sorted=False).values
    return target.mean(hardest) + dice(logits, target, batch_dice=batch_dice)
