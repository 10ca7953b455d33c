"""A sum of losses, each a plug-in with a weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from autoseg import plugins
from autoseg.losses.deep_supervision import Loss
from autoseg.losses.target import Target

if TYPE_CHECKING:
    from jaxtyping import Float


def weighted_losses(weights: Mapping[str, float], *, batch_dice: bool) -> Loss:
    """The weighted sum of loss plug-ins as one function of (logits, target).

    Args:
        weights: name of a plug-in of kind "loss" -> its weight.
        batch_dice: handed on to each loss.

    Raises:
        ConfigurationError: an unknown loss, or no loss at all.
    """
    losses = [(weight, plugins.resolve("loss", name)) for name, weight in weights.items()]

    def total(logits: Float[Tensor, "batch output *space"], target: Target) -> Float[Tensor, ""]:
        parts = [weight * loss(logits, target, batch_dice=batch_dice) for weight, loss in losses]
        result: Tensor = sum(parts[1:], start=parts[0])
        return result

    return total
