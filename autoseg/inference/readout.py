"""The linear end of networks, applied after everything else that is linear.

Averaging over tiles, flips and networks and interpolating onto other voxels are linear, and so is the last layer of a
segmentation network, a 1x1 convolution from features to logits. They may be exchanged: where the features are fewer
than the labels, features are summed and interpolated, and become logits where somebody looks at them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autoseg.networks.unet import UNet


@dataclass(frozen=True)
class Readout:
    """Logits as a linear function of features, voxel by voxel.

    Attributes:
        weight: (K, C) float32.
        bias: (K,) float32.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Features (C, ...) -> logits (K, ...), both float32."""
        flat = features.reshape(features.shape[0], -1)
        logits = torch.addmm(self.bias[:, None], self.weight, flat)
        return logits.reshape(-1, *features.shape[1:])


def without_heads(networks: Sequence[nn.Module], outputs: int) -> tuple[tuple[nn.Module, ...], Readout] | None:
    """Networks that give their last features, and what makes the mean of their logits of these features together.

    Args:
        networks: one a fold; they share their weights with what is returned.
        outputs: channels of the logits, K.

    Returns:
        None where the features of all networks together are no fewer than the labels, or where a network is none of
        `networks.unet`.
    """
    bodies, weights, biases = [], [], []
    for network in networks:
        if not isinstance(network, UNet) or len(network.heads) == 0:
            return None
        head = network.heads[-1]
        assert isinstance(head, nn.Conv2d | nn.Conv3d)
        if head.bias is None:
            return None
        bodies.append(_headless(network))
        weights.append(head.weight.detach().reshape(outputs, -1))
        biases.append(head.bias.detach())
    weight = torch.cat(weights, dim=1).float().cpu() / len(weights)
    if weight.shape[1] >= outputs:
        return None
    return tuple(bodies), Readout(weight, torch.stack(biases).float().mean(0).cpu())


def _headless(network: UNet) -> UNet:
    """The same modules, with weights and all, that end before the last head."""
    body = copy.copy(network)
    body.headless = True
    return body
