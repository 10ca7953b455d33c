"""Dice from probabilities, softly counted, so that it has a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from autoseg.losses.target import Target

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32

SMOOTH = 1e-5
"""Added to numerator and denominator, so that a class absent from both scores 1."""


def dice(logits: Float[Tensor, "batch output *space"], target: Target, *, batch_dice: bool) -> Float[Tensor, ""]:
    """Minus the mean soft Dice of the foreground labels, of each image or of the batch (Milletari et al., 2016).

    Args:
        logits: (B, labels with background, *spatial), taken through a softmax; with regions (B, regions, *spatial),
            each taken through a sigmoid.
        target: labels of the same spatial shape.
        batch_dice: Dice over the batch as one volume.

    Returns:
        A scalar; -1 is perfect.
    """
    return -soft_dice(*foreground(logits, target), target, batch=batch_dice)


def foreground(
    logits: Float[Tensor, "batch output *space"], target: Target
) -> tuple[Float32[Tensor, "batch class *space"], Bool[Tensor, "batch class *space"]]:
    """Probabilities and membership of each foreground label (softmax) or region (sigmoid).

    Returns:
        Float32 (B, C, *spatial), and bool of the same shape.
    """
    logits = logits.float()
    probabilities = logits.sigmoid() if target.regions else logits.softmax(1)[:, 1:]
    return probabilities, target.members(logits.shape[1])


def soft_dice(
    probabilities: Float[Tensor, "batch class *space"],
    members: Bool[Tensor, "batch class *space"] | Float[Tensor, "batch class *space"],
    target: Target,
    *,
    batch: bool,
) -> Float[Tensor, ""]:
    """Mean soft Dice coefficient (Milletari et al., 2016, arXiv:1606.04797, without squares, as in nnU-Net).

    Args:
        probabilities: (B, C, *spatial), float.
        members: which voxels belong to each class, of the same shape (bool or float).
        target: says which voxels count, and which processes share the batch.
        batch: True sums over the batch before the ratio (one pseudo-volume); False scores each sample.

    Returns:
        A scalar in [0, 1]; a class that is empty in reference and prediction counts as 1, one that was not looked for
        does not count.
    """
    overlap, predicted, reference = class_sums(probabilities, members, target, batch=batch)
    ratios = (2 * overlap + SMOOTH) / (predicted + reference + SMOOTH).clamp_min(1e-8)
    return target.mean_over_classes(ratios)


def class_sums(
    probabilities: Float[Tensor, "batch class *space"],
    members: Bool[Tensor, "batch class *space"] | Float[Tensor, "batch class *space"],
    target: Target,
    *,
    batch: bool,
) -> tuple[Float[Tensor, "*samples class"], Float[Tensor, "*samples class"], Float[Tensor, "*samples class"]]:
    """Soft counts of voxels in overlap, prediction and reference; arguments as for `soft_dice`.

    Args:
        probabilities: (B, C, *spatial), float.
        members: which voxels belong to each class, of the same shape (bool or float).
        target: says which voxels count, and which processes share the batch.
        batch: whether the counts are of the whole batch.

    Returns:
        Three tensors (B, C), one row per sample; with `batch` (C,), over the whole batch.
    """
    members = members.to(probabilities.dtype)
    if target.mask is not None:
        probabilities, members = probabilities * target.mask, members * target.mask
    axes = tuple(range(2, probabilities.ndim))
    overlap, predicted, reference = (probabilities * members).sum(axes), probabilities.sum(axes), members.sum(axes)
    if batch:
        overlap, predicted, reference = target.totals(overlap.sum(0), predicted.sum(0), reference.sum(0))
    return overlap, predicted, reference
