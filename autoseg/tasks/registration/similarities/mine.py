"""MINE: mutual information by a small network that learns to tell matching intensities from shuffled ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autoseg.errors import ConfigurationError, RegistrationError
from autoseg.tasks.registration.similarities.protocol import visible

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

SAMPLES = 4096
"""Voxels drawn per call."""

HIDDEN = (100, 100)
"""Units of the hidden layers, as in DRMIME."""


def mine(*, channels: int = 1, hidden: Sequence[int] = HIDDEN, samples: int = SAMPLES, seed: int = 0) -> Mine:
    """Minus a neural lower bound of the mutual information, in nats: for images of different modalities.

    A statistics network T of both images' intensities at a voxel is trained to raise (Donsker and Varadhan)

        E_joint[T(f, w)] - log E_shuffled[exp T(f, w')],

    which is at most the mutual information, and reaches it for the best T. The loss is minus that, so network and
    transform go down the same slope: hand `parameters()` to the optimiser too, and use one object for all levels of a
    pyramid. An untrained network says nothing about the images. All channels of a voxel are one sample, so this
    measures more than the mean over channels. If both images are constant the loss is 0, without a gradient.

    Args:
        channels: of each image.
        hidden: units of each hidden layer.
        samples: voxels drawn at each call, uniformly over those that count (in proportion to a mask of weights), with
            replacement.
        seed: of the first weights and of the draws.

    Returns:
        A module on the CPU in float32; move it to the images' device with `to`.

    Raises:
        ConfigurationError: fewer than one channel, unit or two samples.

    Source: Belghazi et al. 2018, ICML, arXiv:1801.04062; for registration with one network over all levels: Nan et al.
    2020, MIDL, DRMIME, arXiv:2001.09865.
    """
    if channels < 1 or min(hidden, default=1) < 1 or samples < 2:
        raise ConfigurationError(
            "the statistics network cannot be made",
            got=f"{channels} channels, hidden layers {tuple(hidden)}, {samples} samples",
            expected="at least one channel, one unit per layer and two samples",
        )
    return Mine(channels, tuple(hidden), samples, seed)


class Mine(nn.Module):
    """The similarity that `mine` makes.

    Attributes:
        network: statistics network, (N, 2 * channels) -> (N, 1).
        generator: of the draws, on the CPU, so that they are the same on every device.
    """

    def __init__(self, channels: int, hidden: tuple[int, ...], samples: int, seed: int) -> None:
        super().__init__()
        self.channels = channels
        self.samples = samples
        self.generator = torch.Generator().manual_seed(seed)
        self.network = _network(2 * channels, hidden, self.generator)

    def forward(
        self,
        fixed: Float[Tensor, " channel *space"],
        warped: Float[Tensor, " channel *space"],
        mask: Bool[Tensor, "*space"] | Float[Tensor, "*space"] | None = None,
    ) -> Float[Tensor, ""]:
        """Minus the bound over voxels drawn from the mask; see `protocol.Similarity`."""
        fixed, warped, weights = visible(fixed, warped, mask)
        if len(fixed) != self.channels:
            raise RegistrationError(
                "the images have another number of channels than the statistics network",
                got=len(fixed),
                expected=self.channels,
            )
        drawn = self._draw(weights, masked=mask is not None)
        return -self.bound(fixed.flatten(1)[:, drawn].T, warped.flatten(1)[:, drawn].T)

    def bound(
        self, fixed: Float[Tensor, "sample channel"], warped: Float[Tensor, "sample channel"]
    ) -> Float[Tensor, ""]:
        """The bound of the mutual information, in nats.

        Args:
            fixed, warped: (N, channels), intensities at the same voxels, which are in random order: shuffled pairs are
                those of a voxel and the one before.

        Returns:
            A scalar, differentiable in images and network.
        """
        joint = self.network(torch.cat((fixed, warped), dim=1))
        shuffled = self.network(torch.cat((fixed, warped.roll(1, 0)), dim=1))
        return joint.mean() - (shuffled.flatten().logsumexp(0) - math.log(len(shuffled)))

    def _draw(self, weights: Tensor, *, masked: bool) -> Tensor:
        """Indices of voxels, (samples,) int64 on the device of the weights."""
        if not masked:
            return torch.randint(weights.numel(), (self.samples,), generator=self.generator).to(weights.device)
        share = weights.reshape(-1).double().cumsum(0)
        drawn = torch.rand(self.samples, generator=self.generator, dtype=torch.float64).to(weights.device)
        return torch.searchsorted(share, drawn * share[-1], right=True).clamp_max(len(share) - 1)


def _network(inputs: int, hidden: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.utils.skip_init(nn.Linear, inputs, units), nn.ReLU()]
        inputs = units
    layers.append(nn.utils.skip_init(nn.Linear, inputs, 1))
    for layer in layers:
        if isinstance(layer, nn.Linear):  # torch's own rule, drawn from a generator that is not the global one
            reach = 1 / math.sqrt(layer.in_features)
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -reach, reach, generator=generator)
    return nn.Sequential(*layers)
