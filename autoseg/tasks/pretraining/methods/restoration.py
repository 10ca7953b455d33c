"""Restoration of corrupted patches (Models Genesis, Zhou et al. 2019, arXiv:1908.06912)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from autoseg.tasks.pretraining.batch import DrawnExample, ViewBatch, ViewExample
from autoseg.tasks.pretraining.cutting import cut
from autoseg.tasks.pretraining.drawing import drawn, one_view
from autoseg.tasks.pretraining.features import pooled
from autoseg.tasks.pretraining.losses.reconstruction import restoration
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import Outputs, watched
from autoseg.tasks.pretraining.restoration import Corruption, corrupt
from autoseg.tasks.pretraining.restoring import RestoringMethod
from autoseg.tasks.pretraining.views import Shape


class Restoration(RestoringMethod):
    """A patch is shuffled, its values mapped, parts painted over, and the original is to be restored (Models Genesis).

    Attributes:
        corruption: how often and how strongly.
    """

    masks: ClassVar[bool] = False

    corruption: Corruption = Corruption()

    def draw(self, rng: np.random.Generator, shape: Shape) -> DrawnExample:
        """One view, its values unchanged."""
        setting = self.setting
        return drawn(rng, [one_view(rng, shape, setting.frame, setting.views, setting.channels)])

    def make(self, region: np.ndarray, drawn: DrawnExample) -> ViewExample:
        """The corrupted view, and "image", the original."""
        image = cut(region, drawn.region, drawn.views[0])
        corrupted = corrupt(image.numpy(), np.random.default_rng(drawn.seed), self.corruption)
        return ViewExample((torch.from_numpy(corrupted),), {"image": image})

    def online(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """The image "restored", (B, C, *patch)."""
        features = network.stages(batch.views[0])
        return {"restored": self.restored(network, features), "embedding": watched([pooled(features[-1])])}

    def loss(self, online: Outputs, target: Outputs, batch: ViewBatch) -> Tensor:
        """Mean squared error over the whole patch."""
        return restoration(online["restored"], batch.extra["image"])
