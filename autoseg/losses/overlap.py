"""Soft Dice from probabilities."""

from __future__ import annotations

from torch import Tensor

SMOOTH = 1e-5
"""Added to numerator and denominator, so that a class absent from both scores 1."""


def soft_dice(probabilities: Tensor, target: Tensor, *, batch: bool, mask: Tensor | None = None) -> Tensor:
    """Mean soft Dice coefficient (Milletari et al., 2016, arXiv:1606.04797, without squares, as in nnU-Net).

    Args:
        probabilities: (B, C, *spatial), float.
        target: one-hot of the same shape (bool or float).
        batch: True sums over the batch before the ratio (one pseudo-volume); False scores each sample.
        mask: (B, 1, *spatial) bool, False where nothing is annotated; None for everywhere.

    Returns:
        A scalar in [0, 1]; a class that is empty in target and prediction counts as 1.
    """
    target = target.to(probabilities.dtype)
    if mask is not None:
        probabilities, target = probabilities * mask, target * mask
    axes = tuple(range(2, probabilities.ndim))
    overlap = (probabilities * target).sum(axes)
    total = probabilities.sum(axes) + target.sum(axes)
    if batch:
        overlap, total = overlap.sum(0), total.sum(0)
    return ((2 * overlap + SMOOTH) / (total + SMOOTH).clamp_min(1e-8)).mean()
