"""Focal loss: cross-entropy that turns away from voxels which are right already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from autoseg.losses.cross_entropy import voxel_cross_entropy
from autoseg.losses.target import Target

if TYPE_CHECKING:
    from jaxtyping import Float

GAMMA = 2.0
"""Exponent of the focus, the authors' choice; 0 is cross-entropy."""


def focal(logits: Float[Tensor, "batch output *space"], target: Target, *, batch_dice: bool) -> Float[Tensor, ""]:
    """Mean of -(1 - p)^gamma log p, p being the probability of what is true (Lin et al., 2017, arXiv:1708.02002).

    Labels take the softmax's p; of regions, each has its own sigmoid, and the mean is over regions too. Classes are
    not weighted.

    Args:
        logits: (B, labels with background, *spatial), or (B, regions, *spatial).
        target: labels of the same spatial shape.
        batch_dice: without meaning here; losses are all called alike.

    Returns:
        A scalar; 0 is perfect, and the value of a batch without any annotated voxel.
    """
    entropy = voxel_cross_entropy(logits, target)
    wrong = -torch.expm1(-entropy)  # 1 - p, exact also where p is almost 1
    return target.mean(wrong**GAMMA * entropy, target.mask)
