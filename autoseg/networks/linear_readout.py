"""A linear read-out on the features of an encoder that stays as it is: how much the encoder knows already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.errors import ConfigurationError
from autoseg.networks.blocks import convolution
from autoseg.networks.build import build_network
from autoseg.networks.structure import Structure, part_of, structure_around, structure_of
from autoseg.plan.record import ConfigurationPlan

if TYPE_CHECKING:
    from jaxtyping import Float

ENCODER = "encoder"
"""Option of a configuration: plug-in of kind "network" whose encoder is read out."""

_INTERPOLATION = {2: "bilinear", 3: "trilinear"}


class LinearReadout(nn.Module):
    """Logits (B, outputs, *patch) as a linear function of the features of all stages, enlarged to full resolution.

    The features of a voxel are its hypercolumn (Hariharan et al., 2015, arXiv:1411.5752). Since enlarging is linear
    too, it is the logits of each stage that are enlarged, which are fewer. Nothing but these 1x1 convolutions is
    trained, as in the linear evaluation of Zhang et al., 2016 (arXiv:1603.08511).

    Args:
        encoder: a module per stage, highest resolution first; its weights are frozen.
        configuration: widths of its stages.
        outputs: channels of the logits.
        structure: of this network, as far as it is known.
    """

    def __init__(
        self, encoder: nn.ModuleList, configuration: ConfigurationPlan, outputs: int, structure: Structure
    ) -> None:
        super().__init__()
        ones = (1,) * configuration.dimension
        self.encoder, self.structure = encoder.requires_grad_(False), structure
        self.readouts = nn.ModuleList(
            convolution(configuration.dimension, width, outputs, ones, ones, bias=stage == 0)
            for stage, width in enumerate(configuration.features_per_stage)
        )
        for readout in self.readouts:
            for weight in readout.parameters():
                nn.init.zeros_(weight)
        self.deep_supervision = False  # as every network has it; there are no logits of lower resolutions

    def forward(self, image: Float[Tensor, "batch channel *patch"]) -> Float[Tensor, "batch output *patch"]:
        """The logits of an image (B, C, *patch)."""
        mode, features = _INTERPOLATION[image.ndim - 2], image
        by_stage: list[Tensor] = []
        for stage, readout in zip(self.encoder, self.readouts, strict=True):
            with torch.no_grad():
                features = stage(features)
            logits = readout(features)
            if logits.shape[2:] != image.shape[2:]:
                logits = functional.interpolate(logits, size=image.shape[2:], mode=mode, align_corners=False)
            by_stage.append(logits)
        return torch.stack(by_stage).sum(0)


def linear_readout(configuration: ConfigurationPlan, channels: int, outputs: int) -> LinearReadout:
    """A linear read-out on the frozen encoder of another network, for `autoseg probe`.

    Args:
        configuration: topology and widths; the option "encoder" names the other network.
        channels: input channels.
        outputs: channels of the logits.

    Raises:
        ConfigurationError: no such option, or a network whose encoder is not known.
    """
    name = configuration.options.get(ENCODER)
    if name is None:
        raise ConfigurationError(
            "a linear read-out needs an encoder", expected=f"the option {ENCODER!r} in the configuration's options"
        )
    whole = build_network(configuration.with_(network=name), channels, outputs)
    encoder = part_of(whole, structure_of(whole).encoder)
    if not isinstance(encoder, nn.ModuleList) or len(encoder) != configuration.stages:
        raise ConfigurationError(
            f"the network {name!r} has no known encoder that can be read out",
            got="not known" if encoder is None else f"{type(encoder).__name__} of {len(list(encoder.children()))}",
            expected=f"a ModuleList of {configuration.stages} stages, named by its `Structure` (networks.structure)",
            remedy="choose plain-unet or residual-encoder-unet",
        )
    return LinearReadout(encoder, configuration, outputs, structure_around(whole))
