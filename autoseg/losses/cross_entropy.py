"""Cross-entropy, for labels (softmax) and regions (sigmoid)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

from autoseg.losses.target import Target

if TYPE_CHECKING:
    from jaxtyping import Float


def cross_entropy(
    logits: Float[Tensor, "batch output *space"], target: Target, *, batch_dice: bool
) -> Float[Tensor, ""]:
    """Mean cross-entropy over the annotated voxels, with regions also over the regions.

    Args:
        logits: (B, labels with background, *spatial), or (B, regions, *spatial).
        target: labels of the same spatial shape.
        batch_dice: without meaning here; losses are all called alike.

    Returns:
        A scalar in nats; 0 is perfect, and the value of a batch without any annotated voxel.
    """
    return target.mean(voxel_cross_entropy(logits, target), target.mask)


def voxel_cross_entropy(
    logits: Float[Tensor, "batch output *space"], target: Target
) -> Float[Tensor, "batch _ *space"]:
    """Cross-entropy of each voxel, float32 (B, 1, *spatial), or (B, regions, *spatial); ignored voxels included."""
    logits = logits.float()
    if target.regions:
        members = target.members(logits.shape[1]).to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, members, reduction="none")
    return functional.cross_entropy(logits, target.labels[:, 0].long(), reduction="none").unsqueeze(1)
