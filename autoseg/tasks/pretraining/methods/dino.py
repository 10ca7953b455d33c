"""Self-distillation over crops of several sizes (DINO, Caron et al. 2021, arXiv:2104.14294)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from autoseg.tasks.pretraining.batch import DrawnExample, ViewBatch
from autoseg.tasks.pretraining.drawing import drawn, multi_crop
from autoseg.tasks.pretraining.heads import DinoHead, Norm, norm_for
from autoseg.tasks.pretraining.losses.distillation import dino, next_centre
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import Outputs, ViewMethod, watched
from autoseg.tasks.pretraining.views import Shape

GLOBAL_VIEWS = 2


class DINO(ViewMethod):
    """From any crop, small ones too, the student finds its momentum teacher's centred, sharpened view of a large one.

    Attributes:
        teacher_momentum: at the start of a long training (see `teacher.MEMORY`); it rises to 1.
        student_temperature, teacher_temperature: of the softmax.
        centre_momentum: of the running mean of the teacher's logits.
        local_views: small crops of an image.
        local_share: length of a small crop over the patch's.
        prototypes, hidden, bottleneck: widths of the head.
        norm: of the head; None takes batch norm, or layer norm for small batches. Without one ("none", as the paper has
            it for transformers) images whose features are much alike, as scans of one organ are, soon all get the same
            assignment.
    """

    compares: ClassVar[bool] = True

    teacher_momentum: float = Field(default=0.996, ge=0, le=1)
    student_temperature: float = Field(default=0.1, gt=0)
    teacher_temperature: float = Field(default=0.04, gt=0)
    centre_momentum: float = Field(default=0.9, ge=0, lt=1)
    local_views: int = Field(default=4, ge=0)
    local_share: float = Field(default=0.5, gt=0, le=1)
    prototypes: int = Field(default=1024, ge=2)
    hidden: int = Field(default=512, ge=1)
    bottleneck: int = Field(default=128, ge=1)
    norm: Norm | None = None

    @property
    def momentum(self) -> float | None:
        """Of the teacher."""
        return self.teacher_momentum

    def draw(self, rng: np.random.Generator, shape: Shape) -> DrawnExample:
        """Two large views that overlap, then the small ones."""
        setting = self.setting
        frames = (setting.frame, setting.framed(setting.smaller(self.local_share)))
        return drawn(rng, multi_crop(rng, shape, frames, setting.views, setting.channels, self.local_views))

    def heads(self) -> nn.ModuleDict:
        """The head with its prototypes and centre."""
        norm = self.norm or norm_for(self.setting.samples)
        head = DinoHead(
            self.setting.vector, norm, hidden=self.hidden, bottleneck=self.bottleneck, outputs=self.prototypes
        )
        return nn.ModuleDict({"head": head})

    def online(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """The "logits" of all views, (V, B, prototypes); for the watch, what the large ones would be as targets."""
        vectors, head = network.vectors(batch.views), network.heads["head"]
        logits = torch.stack([head(vector) for vector in vectors])
        large = logits[:GLOBAL_VIEWS].detach().float() - head.centre  # type: ignore[operator]
        assignment = (large / self.teacher_temperature).softmax(-1)
        return {"logits": logits, "embedding": watched(vectors[:GLOBAL_VIEWS]), "assignment": assignment}

    def target(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """The "logits" of the large views, (2, B, prototypes), and the "centre" before this batch."""
        head = network.heads["head"]
        logits = torch.stack([head(vector) for vector in network.vectors(batch.views[:GLOBAL_VIEWS])])
        return {"logits": logits, "centre": head.centre.clone()}  # type: ignore[union-attr,operator]

    def loss(self, online: Outputs, target: Outputs, batch: ViewBatch) -> Tensor:
        """Cross-entropy of every view to each large one but itself."""
        return dino(
            list(online["logits"]),
            list(target["logits"]),
            target["centre"],
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )

    def settle(self, network: PretrainingNetwork, target: Outputs) -> None:
        """Moves the centre towards the mean of the teacher's logits; the teacher copies it with its next update."""
        centre = network.heads["head"].centre
        centre.copy_(next_centre(centre, list(target["logits"]), self.centre_momentum))  # type: ignore[operator,arg-type]
