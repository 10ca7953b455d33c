"""What methods that give an image back have in common: who decodes."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from autoseg.networks.blocks import convolution, initialise
from autoseg.tasks.pretraining.decoder import LightDecoder, Tokens
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import ViewMethod

Decoder = Literal["network", "light"]


class RestoringMethod(ViewMethod, ABC):
    """A method that restores images from the features of all stages.

    Attributes:
        decoder: "light" has a small one, which is thrown away; "network" trains the decoder of the segmentation network
            and hands it on with the encoder, which served long trainings on large collections best (Wald et al. 2025,
            CVPR, arXiv:2410.23132). After short ones it costs more than it gains.
        decoder_width: most features of a stage of the light one.
    """

    masks: ClassVar[bool]
    """Whether images come with hidden blocks."""

    decoder: Decoder = "light"
    decoder_width: int = Field(default=32, ge=1)

    @property
    def decodes(self) -> bool:
        """Whether the network's own decoder is trained."""
        return self.decoder == "network"

    def heads(self) -> nn.ModuleDict:
        """The light decoder, or what turns the features of the network's into an image; tokens for hidden blocks."""
        configuration, channels = self.setting.configuration, self.setting.channels
        heads = nn.ModuleDict()
        if self.decodes:
            ones = (1,) * configuration.dimension
            heads["image"] = convolution(
                configuration.dimension, configuration.features_per_stage[0], channels, ones, ones
            )
            initialise(heads)
        else:
            heads["decoder"] = LightDecoder(configuration, channels, width=self.decoder_width)
        if self.masks:
            heads["tokens"] = Tokens(configuration)
        return heads

    def restored(self, network: PretrainingNetwork, features: Sequence[Tensor], hidden: Tensor | None = None) -> Tensor:
        """The image (B, C, *patch) from features of all stages; `hidden`, bool (B, *grid), of a method that masks."""
        if hidden is not None:
            features = network.heads["tokens"](features, hidden)
        image: Tensor
        if self.decodes:
            image = network.heads["image"](network.decoded(features))
        else:
            image = network.heads["decoder"](features)
        return image
