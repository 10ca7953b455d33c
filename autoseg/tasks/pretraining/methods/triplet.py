"""Contrast by triplets (Schroff et al. 2015, arXiv:1503.03832)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from autoseg.tasks.pretraining.batch import ViewBatch
from autoseg.tasks.pretraining.heads import Norm, byol_mlp, norm_for
from autoseg.tasks.pretraining.losses.contrast import Distance, others, triplet
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import Outputs, watched
from autoseg.tasks.pretraining.two_views import PairMethod


class Triplet(PairMethod):
    """A view is to be nearer to another of its image than to views of all other images of the batch, by a margin.

    All triplets of the batch count, each view once as the anchor: the hardest alone, as FaceNet found, tend to collapse
    where a batch is small.

    Attributes:
        margin: in units of the distance.
        distance: "cosine" or "euclidean".
        hidden, outputs: widths of the projector.
        norm: of the projector; None takes batch norm, or layer norm for small batches.
    """

    margin: float = Field(default=0.5, gt=0)
    distance: Distance = "cosine"
    hidden: int = Field(default=512, ge=1)
    outputs: int = Field(default=128, ge=1)
    norm: Norm | None = None

    def heads(self) -> nn.ModuleDict:
        """The projector."""
        norm = self.norm or norm_for(self.setting.samples)
        return nn.ModuleDict(
            {"projector": byol_mlp(self.setting.vector, norm, hidden=self.hidden, outputs=self.outputs)}
        )

    def online(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """Projections "first" and "second", (B, outputs)."""
        vectors = network.vectors(batch.views)
        first, second = (network.heads["projector"](vector) for vector in vectors)
        return {"first": first, "second": second, "embedding": watched(vectors)}

    def loss(self, online: Outputs, target: Outputs, batch: ViewBatch) -> Tensor:
        """The mean over both views as anchors; 0 for a batch of one."""
        first, second = online["first"], online["second"]
        options = {"margin": self.margin, "distance": self.distance}
        forth = triplet(first, second, others(second), **options)  # type: ignore[arg-type]
        back = triplet(second, first, others(first), **options)  # type: ignore[arg-type]
        return (forth + back) / 2
