"""The two U-Nets of nnU-Net: plain (Isensee et al., 2021) and with a residual encoder (Isensee et al., 2024)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autoseg.networks.blocks import ConvBlock, conv_stage, convolution, initialise, residual_stage, upsampling
from autoseg.networks.products import project, upsample
from autoseg.networks.structure import Structure
from autoseg.plan.record import ConfigurationPlan

if TYPE_CHECKING:
    from jaxtyping import Float


def without_last_head(network: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    """A `UNet` of the same modules, with weights and all, that ends before the head at full resolution, and that head.

    None for a network of a single stage, which has no head, and for one that is compiled.
    """
    if not isinstance(network, UNet) or len(network.heads) == 0:
        return None
    body = copy.copy(network)
    body.headless = True
    return body, network.heads[-1]


class UNet(nn.Module):
    """An encoder's stages joined to a decoder by skip connections (Ronneberger et al., 2015, arXiv:1505.04597).

    `forward` takes (B, C, *patch) and returns the logits at full resolution, (B, outputs, *patch). While
    `deep_supervision` is on, it returns a list instead: logits of the `supervised` highest resolutions, full
    resolution first. The heads of lower resolutions exist whether used or not, so that weights always load.
    """

    structure = Structure(
        stem="encoder.0.0.conv",
        encoder="encoder",
        upsamplings="upsamplings",
        decoder="decoder",
        heads="heads",
        readout=without_last_head,
    )

    def __init__(self, encoder: nn.ModuleList, configuration: ConfigurationPlan, outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.upsamplings, self.decoder, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        ones = (1,) * configuration.dimension
        for i, level in enumerate(reversed(range(configuration.stages - 1))):
            below, width = configuration.features_per_stage[level + 1], configuration.features_per_stage[level]
            self.upsamplings.append(upsampling(configuration.dimension, below, width, configuration.strides[level + 1]))
            blocks = configuration.decoder_blocks_per_stage[i]
            self.decoder.append(conv_stage(blocks, 2 * width, width, configuration.kernel_sizes[level], ones))
            self.heads.append(convolution(configuration.dimension, width, outputs, ones, ones))
        self.deep_supervision = False
        self.headless = False  # gives the features that the last head would take, (B, features, *patch)
        # The lowest resolution has weight zero in the loss, so it is not computed at all.
        self.supervised = max(1, configuration.stages - 2)

    def forward(
        self, image: Float[Tensor, "batch channel *patch"]
    ) -> Float[Tensor, "batch output *patch"] | list[Float[Tensor, "batch output ..."]]:
        skips = []
        features = image
        for stage in self.encoder:
            features = stage(features)
            skips.append(features)
        logits: list[Tensor] = []
        decoded = decode(self.upsamplings, self.decoder, skips)
        for i, (features, head) in enumerate(zip(decoded, self.heads, strict=True)):
            resolution = len(self.heads) - 1 - i
            if resolution == 0 and self.headless:
                return features
            if resolution == 0 or (self.deep_supervision and resolution < self.supervised):
                logits.insert(0, project(head, features))
        return logits if self.deep_supervision else logits[0]


def decode(
    upsamplings: nn.ModuleList, decoder: nn.ModuleList, skips: list[Float[Tensor, "batch _ ..."]]
) -> Iterator[Float[Tensor, "batch _ ..."]]:
    """The decoder's features, lowest resolution first, each (B, F_i, *space_i); the last are those at full resolution.

    Args:
        upsamplings, decoder: of a `UNet`.
        skips: features of the encoder's stages, full resolution first. Each leaves the list when it is used, so that
            its memory can be given back.
    """
    features = skips.pop()
    for up, stage in zip(upsamplings, decoder, strict=True):
        features = stage(torch.cat((upsample(up, features), skips.pop()), dim=1))
        yield features


def plain_unet(configuration: ConfigurationPlan, channels: int, outputs: int) -> UNet:
    """nnU-Net's default network: plain convolution stages, strided convolutions, transposed upsampling.

    Args:
        configuration: topology and widths.
        channels: input channels.
        outputs: channels of the logits.
    """
    encoder, width = nn.ModuleList(), channels
    for i in range(configuration.stages):
        features, blocks = configuration.features_per_stage[i], configuration.blocks_per_stage[i]
        kernel, stride = configuration.kernel_sizes[i], configuration.strides[i]
        encoder.append(conv_stage(blocks, width, features, kernel, stride))
        width = features
    network = UNet(encoder, configuration, outputs)
    initialise(network)
    return network


def residual_encoder_unet(configuration: ConfigurationPlan, channels: int, outputs: int) -> UNet:
    """nnU-Net's residual-encoder network ("nnU-Net Revisited", arXiv:2404.09556): a stem, then residual stages.

    Args:
        configuration: topology and widths; `blocks_per_stage` counts residual blocks.
        channels: input channels.
        outputs: channels of the logits.
    """
    encoder = nn.ModuleList()
    width = configuration.features_per_stage[0]
    for i in range(configuration.stages):
        features, blocks = configuration.features_per_stage[i], configuration.blocks_per_stage[i]
        stage = residual_stage(blocks, width, features, configuration.kernel_sizes[i], configuration.strides[i])
        if i == 0:
            stem = ConvBlock(channels, width, configuration.kernel_sizes[0], (1,) * configuration.dimension)
            stage = nn.Sequential(stem, *stage)
        encoder.append(stage)
        width = features
    network = UNet(encoder, configuration, outputs)
    initialise(network)
    return network
