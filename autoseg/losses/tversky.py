"""Tversky loss: Dice that counts missed and false voxels differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from autoseg.losses.overlap import SMOOTH, class_sums, foreground
from autoseg.losses.target import Target

if TYPE_CHECKING:
    from jaxtyping import Float

FALSE, MISSED = 0.3, 0.7
"""Weights of false positives and of false negatives, the authors' choice for small lesions; 0.5 and 0.5 is Dice."""


def tversky(logits: Float[Tensor, "batch output *space"], target: Target, *, batch_dice: bool) -> Float[Tensor, ""]:
    """The negative Tversky index of the foreground (Salehi et al., 2017, arXiv:1706.05721, equation 3).

    Args:
        logits: (B, labels with background, *spatial), taken through a softmax; with regions (B, regions, *spatial),
            each taken through a sigmoid.
        target: labels of the same spatial shape.
        batch_dice: one index over the batch as one volume.

    Returns:
        A scalar; -1 is perfect. A class that is empty in reference and prediction counts as perfect.
    """
    overlap, predicted, reference = class_sums(*foreground(logits, target), target, batch=batch_dice)
    errors = FALSE * (predicted - overlap) + MISSED * (reference - overlap)
    ratios = (overlap + SMOOTH) / (overlap + errors + SMOOTH)
    return -target.mean_over_classes(ratios)
