"""A light decoder from an encoder's features to an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autoseg.networks.blocks import ConvBlock, convolution, initialise, upsampling
from autoseg.plan.record import ConfigurationPlan
from autoseg.pretraining.blocks import at_resolution


class LightDecoder(nn.Module):
    """Features of all stages, coarsest last, to an image (B, outputs, *space) at full resolution.

    From the coarsest stage upwards: enlarge, add a 1x1 projection of the encoder's features, one convolution. Where
    blocks were hidden, a learned vector a stage stands for the features that are missing.

    Source: Tian et al. 2023 (SparK), arXiv:2301.03580, section 3.2: a light hierarchical decoder and mask embeddings.

    Args:
        configuration: the encoder's topology.
        outputs: channels of the image.
        width: most features of a stage here.
        masked: whether images will come with hidden blocks; without, there are no vectors to learn.
    """

    def __init__(
        self, configuration: ConfigurationPlan, outputs: int, *, width: int = 32, masked: bool = False
    ) -> None:
        super().__init__()
        plan, dimension = configuration, configuration.dimension
        one = (1,) * dimension
        widths = [min(width, features) for features in plan.features_per_stage]
        self.laterals = nn.ModuleList(
            convolution(dimension, features, mine, one, one)
            for features, mine in zip(plan.features_per_stage, widths, strict=True)
        )
        self.upsamplings = nn.ModuleList(
            upsampling(dimension, widths[i + 1], widths[i], plan.strides[i + 1]) for i in range(plan.stages - 1)
        )
        self.stages = nn.ModuleList(
            ConvBlock(widths[i], widths[i], plan.kernel_sizes[i], one) for i in range(plan.stages - 1)
        )
        self.first = upsampling(dimension, widths[0], widths[0], plan.strides[0]) if max(plan.strides[0]) > 1 else None
        self.head = convolution(dimension, widths[0], outputs, one, one)
        initialise(self)
        replaced = plan.features_per_stage if masked else ()
        self.tokens = nn.ParameterList(torch.randn(1, features, *one) * 0.02 for features in replaced)

    def forward(self, features: Sequence[Tensor], hidden: Tensor | None = None) -> Tensor:
        """The image from a tensor a stage, (B, F_i, *space_i); `hidden` is bool (B, *grid), None where all is seen."""
        given = [self._filled(stage, level, hidden) for level, stage in enumerate(features)]
        result: Tensor = self.laterals[-1](given[-1])
        for level in reversed(range(len(given) - 1)):
            result = self.upsamplings[level](result) + self.laterals[level](given[level])
            result = self.stages[level](result)
        if self.first is not None:
            result = self.first(result)
        image: Tensor = self.head(result)
        return image

    def _filled(self, features: Tensor, level: int, hidden: Tensor | None) -> Tensor:
        if hidden is None:
            return features
        unseen = at_resolution(hidden, features.shape[2:]).unsqueeze(1)
        return torch.where(unseen, self.tokens[level].to(features.dtype), features)
