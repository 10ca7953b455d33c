"""The linear end of networks, applied after everything else that is linear.

Averaging over tiles, flips and networks and interpolating onto other voxels are linear, and so is the last layer of a
segmentation network, a 1x1 convolution from features to logits. They may be exchanged: where the features are fewer
than the labels, features are summed and interpolated, and become logits where somebody looks at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, nn

from autoseg.networks.structure import structure_of

if TYPE_CHECKING:
    from jaxtyping import Float32


@dataclass(frozen=True)
class Readout:
    """Logits as a linear function of features, voxel by voxel.

    Attributes:
        weight: (K, C) float32.
        bias: (K,) float32.
    """

    weight: Float32[Tensor, "output feature"]
    bias: Float32[Tensor, " output"]

    def __call__(self, features: Float32[Tensor, " feature *space"]) -> Float32[Tensor, " output *space"]:
        """Features (C, ...) -> logits (K, ...), both float32."""
        flat = features.reshape(features.shape[0], -1)
        logits = torch.addmm(self.bias[:, None], self.weight, flat)
        return logits.reshape(-1, *features.shape[1:])


def without_heads(networks: Sequence[nn.Module], outputs: int) -> tuple[tuple[nn.Module, ...], Readout] | None:
    """Networks that give their last features, and what makes the mean of their logits of these features together.

    Args:
        networks: one per fold; they share their weights with what is returned.
        outputs: channels of the logits, K.

    Returns:
        None where the features of all networks together are no fewer than the labels, or where it is not known how a
        network's last layer is taken off (`networks.structure`).
    """
    bodies, weights, biases = [], [], []
    for network in networks:
        take_off = structure_of(network).readout
        parts = None if take_off is None else take_off(network)
        if parts is None:
            return None
        body, head = parts
        if not _is_matrix(head, outputs) or head.bias is None:
            return None
        bodies.append(body)
        weights.append(head.weight.detach().reshape(outputs, -1))
        biases.append(head.bias.detach())
    weight = torch.cat(weights, dim=1).float().cpu() / len(weights)
    if weight.shape[1] >= outputs:
        return None
    return tuple(bodies), Readout(weight, torch.stack(biases).float().mean(0).cpu())


def _is_matrix(layer: nn.Module, outputs: int) -> TypeGuard[nn.Conv2d | nn.Conv3d]:
    """Whether a layer is a matrix from the features of a voxel to its logits."""
    if not isinstance(layer, nn.Conv2d | nn.Conv3d) or layer.groups != 1:
        return False
    return layer.out_channels == outputs and prod(layer.kernel_size) == prod(layer.stride) == 1
