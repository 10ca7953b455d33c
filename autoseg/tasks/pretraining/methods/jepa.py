"""Prediction of embeddings in place of voxels (I-JEPA, Assran et al. 2023, arXiv:2301.08243)."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from autoseg.tasks.pretraining.batch import DrawnExample, ViewBatch
from autoseg.tasks.pretraining.drawing import drawn, one_view
from autoseg.tasks.pretraining.features import pooled_visible
from autoseg.tasks.pretraining.heads import ContextPredictor
from autoseg.tasks.pretraining.losses.distillation import jepa
from autoseg.tasks.pretraining.masking import TargetBlocks
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import Outputs, ViewMethod, watched
from autoseg.tasks.pretraining.views import Shape


class JEPA(ViewMethod):
    """From a context block the student predicts the momentum teacher's embeddings of target blocks it has not seen.

    Embeddings are the coarsest features; the student's encoder sees the context alone (features elsewhere are zero),
    the teacher's the whole patch.

    Attributes:
        blocks: how context and targets are drawn.
        teacher_momentum: at the start of a long training (see `teacher.MEMORY`); it rises to 1.
        width, layers: of the predictor.
    """

    blocks: TargetBlocks = TargetBlocks()
    teacher_momentum: float = Field(default=0.996, ge=0, le=1)
    width: int = Field(default=128, ge=1)
    layers: int = Field(default=3, ge=1)

    @property
    def momentum(self) -> float | None:
        """Of the teacher."""
        return self.teacher_momentum

    def draw(self, rng: np.random.Generator, shape: Shape) -> DrawnExample:
        """One view, "hidden" bool (*grid), all but the context, and "targets" bool (M, *grid)."""
        setting = self.setting
        view = one_view(rng, shape, setting.frame, setting.views, setting.channels)
        split = self.blocks.draw(rng, setting.grid)
        return drawn(rng, [view], {"hidden": ~split.context, "targets": split.targets})

    def heads(self) -> nn.ModuleDict:
        """The predictor."""
        features = self.setting.configuration.features_per_stage[-1]
        return nn.ModuleDict(
            {"predictor": ContextPredictor(features, self.setting.grid, width=self.width, blocks=self.layers)}
        )

    def online(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """Predicted "cells", (B, F, *grid)."""
        hidden = batch.extra["hidden"]
        features = network.stages(batch.views[0], hidden)[-1]
        cells = network.heads["predictor"](features, hidden)
        return {"cells": cells, "embedding": watched([pooled_visible(features, hidden)])}

    def target(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """The "cells" (B, F, *grid) of the whole patch, each with mean 0 and variance 1 over its features."""
        features = network.stages(batch.views[0])[-1].movedim(1, -1)
        return {"cells": functional.layer_norm(features, features.shape[-1:]).movedim(-1, 1)}

    def loss(self, online: Outputs, target: Outputs, batch: ViewBatch) -> Tensor:
        """Smooth L1 over the target blocks."""
        return jepa(online["cells"], target["cells"], batch.extra["targets"])
