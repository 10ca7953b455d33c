"""Contrast of two views (SimCLR, Chen et al. 2020, arXiv:2002.05709)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from autoseg.tasks.pretraining.batch import ViewBatch
from autoseg.tasks.pretraining.heads import Norm, norm_for, simclr_projector
from autoseg.tasks.pretraining.losses.contrast import nt_xent
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import Outputs, watched
from autoseg.tasks.pretraining.two_views import PairMethod


class SimCLR(PairMethod):
    """Two views of an image are to be more alike than views of any other image of the batch (NT-Xent).

    Attributes:
        temperature: of the similarities.
        hidden, outputs: widths of the projector.
        norm: of the projector; None takes batch norm, or layer norm for small batches.
    """

    temperature: float = Field(default=0.2, gt=0)
    hidden: int = Field(default=512, ge=1)
    outputs: int = Field(default=128, ge=1)
    norm: Norm | None = None

    def heads(self) -> nn.ModuleDict:
        """The projector."""
        norm = self.norm or norm_for(self.setting.samples)
        projector = simclr_projector(self.setting.vector, norm, hidden=self.hidden, outputs=self.outputs)
        return nn.ModuleDict({"projector": projector})

    def online(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """Projections "first" and "second", (B, outputs)."""
        vectors = network.vectors(batch.views)
        first, second = (network.heads["projector"](vector) for vector in vectors)
        return {"first": first, "second": second, "embedding": watched(vectors)}

    def loss(self, online: Outputs, target: Outputs, batch: ViewBatch) -> Tensor:
        """NT-Xent; it needs two examples or more."""
        return nt_xent(online["first"], online["second"], self.temperature)
