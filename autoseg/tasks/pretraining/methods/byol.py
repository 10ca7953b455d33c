"""Prediction of a momentum teacher's view (BYOL, Grill et al. 2020, arXiv:2006.07733)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from autoseg.tasks.pretraining.batch import ViewBatch
from autoseg.tasks.pretraining.heads import Norm, byol_mlp, norm_for
from autoseg.tasks.pretraining.losses.distillation import byol
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import Outputs, watched
from autoseg.tasks.pretraining.two_views import PairMethod


class BYOL(PairMethod):
    """From one view the student predicts the momentum teacher's projection of the other; no negatives are needed.

    Attributes:
        teacher_momentum: at the start of a long training (see `teacher.MEMORY`); it rises to 1.
        hidden, outputs: widths of projector and predictor.
        norm: of both; None takes batch norm, or layer norm for small batches.
    """

    teacher_momentum: float = Field(default=0.996, ge=0, le=1)
    hidden: int = Field(default=512, ge=1)
    outputs: int = Field(default=128, ge=1)
    norm: Norm | None = None

    @property
    def momentum(self) -> float | None:
        """Of the teacher."""
        return self.teacher_momentum

    def heads(self) -> nn.ModuleDict:
        """Projector and predictor; the teacher's copy of the predictor is not used."""
        norm, widths = self.norm or norm_for(self.setting.samples), {"hidden": self.hidden, "outputs": self.outputs}
        return nn.ModuleDict(
            {
                "projector": byol_mlp(self.setting.vector, norm, **widths),
                "predictor": byol_mlp(self.outputs, norm, **widths),
            }
        )

    def online(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """Predictions "first" and "second", (B, outputs)."""
        vectors = network.vectors(batch.views)
        predictor, projector = network.heads["predictor"], network.heads["projector"]
        first, second = (predictor(projector(vector)) for vector in vectors)
        return {"first": first, "second": second, "embedding": watched(vectors)}

    def target(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """Projections "first" and "second", (B, outputs)."""
        first, second = (network.heads["projector"](vector) for vector in network.vectors(batch.views))
        return {"first": first, "second": second}

    def loss(self, online: Outputs, target: Outputs, batch: ViewBatch) -> Tensor:
        """Each view's prediction against the teacher's projection of the other; the sum of both, from 0 to 8."""
        return byol(online["first"], target["second"]) + byol(online["second"], target["first"])
