"""The network of a pretraining: a segmentation network's encoder, perhaps its decoder, and a method's heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from torch import Tensor, nn

from autoseg.networks.structure import structure_around
from autoseg.networks.unet import decode
from autoseg.plan.record import ConfigurationPlan
from autoseg.tasks.pretraining.batch import ViewBatch
from autoseg.tasks.pretraining.features import decoder_of, encoder_of, pooled_views, stage_features

HANDED_ON = ("encoder.", "upsamplings.", "decoder.")
"""How names of weights begin that the network of a segmentation has too."""


class HeadedMethod(Protocol):
    """What the network asks of a method of pretraining (see `protocol.Method`)."""

    @property
    def decodes(self) -> bool: ...

    def heads(self) -> nn.ModuleDict: ...

    def online(self, network: PretrainingNetwork, batch: ViewBatch) -> Mapping[str, Tensor]: ...

    def target(self, network: PretrainingNetwork, batch: ViewBatch) -> Mapping[str, Tensor]: ...


class PretrainingNetwork(nn.Module):
    """An encoder with heads, and a decoder where the method asks for one; a call gives what it makes of a batch.

    Parameters of encoder and decoder have the names that they have in the segmentation network (`HANDED_ON`), so that
    `networks.transfer` finds them; those of the heads begin with `heads.`.

    Args:
        whole: the segmentation network; its parts are not copied.
        method: whose heads are made, and which the calls go to.
        configuration: that the network was built from.

    Raises:
        ConfigurationError: the network has no known encoder, or not the decoder that the method asks for.
    """

    def __init__(self, whole: nn.Module, method: HeadedMethod, configuration: ConfigurationPlan) -> None:
        super().__init__()
        self.encoder = encoder_of(whole, configuration)
        self.structure = structure_around(whole)
        if method.decodes:
            self.upsamplings, self.decoder = decoder_of(whole, configuration)
            self.structure = replace(self.structure, upsamplings="upsamplings", decoder="decoder")
        self.heads = method.heads()
        self._method = method

    def forward(self, batch: ViewBatch, *, teacher: bool = False) -> Mapping[str, Tensor]:
        """The student's outputs for a batch, or the teacher's."""
        return self._method.target(self, batch) if teacher else self._method.online(self, batch)

    def stages(self, image: Tensor, hidden: Tensor | None = None) -> list[Tensor]:
        """Features of each stage, (B, F_i, *space_i), of an image of which blocks may be hidden."""
        return stage_features(self.encoder, image, hidden)

    def decoded(self, features: Sequence[Tensor]) -> Tensor:
        """The decoder's features at full resolution, (B, F_0, *patch), from those of each stage."""
        *_, last = decode(self.upsamplings, self.decoder, list(features))
        return last

    def vectors(self, views: Sequence[Tensor]) -> list[Tensor]:
        """One vector (B, 2 F) per image and view."""
        return pooled_views(self.encoder, views)
