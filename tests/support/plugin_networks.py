"""A network of two layers as somebody else registers it: as a function that tells nothing, and with all it can tell."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from autoseg.networks.family import NetworkFamily
from autoseg.networks.layers import Layer
from autoseg.networks.structure import Structure
from autoseg.networks.unet import plain_unet
from autoseg.plan.record import ConfigurationPlan

WIDTH = 4
CONVOLUTIONS: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}


def two_layers(configuration: ConfigurationPlan, channels: int, outputs: int) -> nn.Module:
    """A dilated convolution and a head."""
    convolution = CONVOLUTIONS[configuration.dimension]
    return nn.Sequential(
        convolution(channels, WIDTH, 3, padding=2, dilation=2), nn.LeakyReLU(), convolution(WIDTH, outputs, 1)
    )


def told_layers(configuration: ConfigurationPlan, channels: int, outputs: int) -> list[Layer]:
    """What `two_layers` builds."""
    size, one = configuration.patch_size, (1,) * configuration.dimension
    three, two = (3,) * configuration.dimension, (2,) * configuration.dimension
    return [
        Layer("convolution", channels, WIDTH, three, size, one, dilation=two),
        Layer("head", WIDTH, outputs, one, size, one),
    ]


def split(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The body of `two_layers`, and its head."""
    assert isinstance(network, nn.Sequential)
    return network[:-1], network[-1]


TOLD = NetworkFamily(two_layers, layers=told_layers, structure=Structure(stem="0", heads="2", readout=split))


class Wrapped(nn.Module):
    """A U-Net whose parts have other names, as in somebody else's library."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.inner = unet

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.inner(image)
        return result


def wrapped(configuration: ConfigurationPlan, channels: int, outputs: int) -> nn.Module:
    """A plain U-Net under other names."""
    return Wrapped(plain_unet(configuration, channels, outputs))


WRAPPED = NetworkFamily(
    wrapped,
    structure=Structure(
        stem="inner.encoder.0.0.conv",
        encoder="inner.encoder",
        upsamplings="inner.upsamplings",
        decoder="inner.decoder",
        heads="inner.heads",
    ),
)

PLUG_INS = {"network": {"two-layers": two_layers, "two-layers-told": TOLD, "wrapped": wrapped, "wrapped-told": WRAPPED}}
"""For `autoseg.plugins._registered`: names as a plan has them."""
