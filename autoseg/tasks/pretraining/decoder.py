"""From an encoder's features to an image: by the segmentation network's own decoder, or by a light one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autoseg.networks.blocks import ConvBlock, convolution, initialise, upsampling
from autoseg.plan.record import ConfigurationPlan
from autoseg.tasks.pretraining.blocks import at_resolution


class Tokens(nn.Module):
    """A learned vector per stage that stands for the features of what is hidden.

    Source: Tian et al. 2023 (SparK), arXiv:2301.03580, section 3.2.
    """

    def __init__(self, configuration: ConfigurationPlan) -> None:
        super().__init__()
        ones = (1,) * configuration.dimension
        self.tokens = nn.ParameterList(
            torch.randn(1, features, *ones) * 0.02 for features in configuration.features_per_stage
        )

    def forward(self, features: Sequence[Tensor], hidden: Tensor) -> list[Tensor]:
        """Features of all stages, (B, F_i, *space_i), filled where `hidden`, bool (B, *grid), is true."""
        return [
            torch.where(at_resolution(hidden, stage.shape[2:]).unsqueeze(1), token.to(stage.dtype), stage)
            for token, stage in zip(self.tokens, features, strict=True)
        ]


class LightDecoder(nn.Module):
    """Features of all stages, coarsest last, to an image (B, outputs, *space) at full resolution.

    From the coarsest stage upwards: enlarge, add a 1x1 projection of the encoder's features, one convolution.

    Source: Tian et al. 2023 (SparK), arXiv:2301.03580, section 3.2.

    Args:
        configuration: the encoder's topology.
        outputs: channels of the image.
        width: most features of a stage here.
    """

    def __init__(self, configuration: ConfigurationPlan, outputs: int, *, width: int = 32) -> None:
        super().__init__()
        dimension = configuration.dimension
        ones = (1,) * dimension
        widths = [min(width, features) for features in configuration.features_per_stage]
        self.laterals = nn.ModuleList(
            convolution(dimension, features, mine, ones, ones)
            for features, mine in zip(configuration.features_per_stage, widths, strict=True)
        )
        self.upsamplings = nn.ModuleList(
            upsampling(dimension, widths[i + 1], widths[i], configuration.strides[i + 1])
            for i in range(configuration.stages - 1)
        )
        self.stages = nn.ModuleList(
            ConvBlock(widths[i], widths[i], configuration.kernel_sizes[i], ones)
            for i in range(configuration.stages - 1)
        )
        self.first = (
            upsampling(dimension, widths[0], widths[0], configuration.strides[0])
            if max(configuration.strides[0]) > 1
            else None
        )
        self.head = convolution(dimension, widths[0], outputs, ones, ones)
        initialise(self)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The image from a tensor per stage, (B, F_i, *space_i), full resolution first."""
        result: Tensor = self.laterals[-1](features[-1])
        for level in reversed(range(len(features) - 1)):
            result = self.upsamplings[level](result) + self.laterals[level](features[level])
            result = self.stages[level](result)
        if self.first is not None:
            result = self.first(result)
        image: Tensor = self.head(result)
        return image
