"""The networks of this project, as plug-ins: what each knows of itself. PyTorch is imported when one is built."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from autoseg.networks.family import NetworkFamily
from autoseg.networks.unet_layers import feature_map_elements, plain_layers, residual_layers
from autoseg.plan.record import ConfigurationPlan

if TYPE_CHECKING:
    from torch import nn


def _plain_unet(configuration: ConfigurationPlan, channels: int, outputs: int) -> nn.Module:
    from autoseg.networks.unet import plain_unet

    return plain_unet(configuration, channels, outputs)


def _residual_encoder_unet(configuration: ConfigurationPlan, channels: int, outputs: int) -> nn.Module:
    from autoseg.networks.unet import residual_encoder_unet

    return residual_encoder_unet(configuration, channels, outputs)


def _linear_readout(configuration: ConfigurationPlan, channels: int, outputs: int) -> nn.Module:
    from autoseg.networks.linear_readout import linear_readout

    return linear_readout(configuration, channels, outputs)


PLAIN_UNET = NetworkFamily(
    _plain_unet,
    layers=plain_layers,
    elements=partial(feature_map_elements, residual=False),
    topology="unet",
)
"""nnU-Net's default network: plain convolution stages, strided convolutions, transposed upsampling."""

RESIDUAL_ENCODER_UNET = NetworkFamily(
    _residual_encoder_unet,
    layers=residual_layers,
    elements=partial(feature_map_elements, residual=True),
    topology="unet",
)
"""nnU-Net's residual-encoder network ("nnU-Net Revisited", arXiv:2404.09556): a stem, then residual stages."""

LINEAR_READOUT = NetworkFamily(_linear_readout, topology="encoder")
"""A linear read-out on the frozen encoder of another network, for `autoseg probe`."""
