"""A loss over the logits of several resolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from autoseg.losses.target import Target

if TYPE_CHECKING:
    from jaxtyping import Float

Loss = Callable[[Tensor, Target], Tensor]


def resolution_weights(resolutions: int) -> tuple[float, ...]:
    """Weights 1, 1/2, 1/4, ... that sum to one (nnU-Net's, whose lowest resolution has weight zero and is left out)."""
    raw = [0.5**i for i in range(resolutions)]
    return tuple(weight / sum(raw) for weight in raw)


def deep_supervision(loss: Loss, strides: Sequence[Sequence[int]]) -> Callable[[Sequence[Tensor], Target], Tensor]:
    """The weighted sum of a loss over resolutions (Lee et al., 2015, arXiv:1409.5185).

    Args:
        loss: of logits and target at one resolution.
        strides: the strides of the network's stages; their running product relates resolutions to the target.

    Returns:
        A function of the logits, full resolution first, and the full-resolution target.
    """
    factors = [tuple(1 for _ in strides[0])]
    for stride in strides[1:]:
        factors.append(tuple(f * s for f, s in zip(factors[-1], stride, strict=True)))

    def over_resolutions(logits: Sequence[Float[Tensor, "batch output ..."]], target: Target) -> Float[Tensor, ""]:
        weights = resolution_weights(len(logits))
        parts = [
            weight * loss(level, target.downsample(factor))
            for level, weight, factor in zip(logits, weights, factors, strict=False)
        ]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    return over_resolutions
