"""Masked autoencoding for convolutional encoders (He et al. 2022, arXiv:2111.06377; SparK, arXiv:2301.03580)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from autoseg.tasks.pretraining.batch import DrawnExample, ViewBatch
from autoseg.tasks.pretraining.drawing import drawn, one_view
from autoseg.tasks.pretraining.features import pooled_visible
from autoseg.tasks.pretraining.losses.reconstruction import masked_reconstruction
from autoseg.tasks.pretraining.masking import block_mask
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import Outputs, watched
from autoseg.tasks.pretraining.restoring import RestoringMethod
from autoseg.tasks.pretraining.views import Shape


class MaskedAutoencoder(RestoringMethod):
    """Most blocks of a patch are hidden, and a decoder restores them from what the encoder sees of the rest.

    Where blocks are hidden the encoder's features are zero after every normalisation and do not count in it
    (SparK's sparse convolution in dense form, `features.stage_features`).

    Attributes:
        share: of the blocks that are hidden.
        normalise: restore blocks of mean 0 and variance 1.
    """

    masks: ClassVar[bool] = True

    share: float = Field(default=0.6, gt=0, lt=1)
    normalise: bool = False

    def draw(self, rng: np.random.Generator, shape: Shape) -> DrawnExample:
        """One view, its values unchanged, and the mask "hidden", bool (*grid)."""
        setting = self.setting
        view = one_view(rng, shape, setting.frame, setting.views, setting.channels)
        return drawn(rng, [view], {"hidden": block_mask(rng, setting.grid, self.share)})

    def online(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """The image "restored", (B, C, *patch): hidden blocks count, the others are whatever comes."""
        hidden = batch.extra["hidden"]
        features = network.stages(batch.views[0], hidden)
        restored = self.restored(network, features, hidden)
        return {"restored": restored, "embedding": watched([pooled_visible(features[-1], hidden)])}

    def loss(self, online: Outputs, target: Outputs, batch: ViewBatch) -> Tensor:
        """Mean squared error over the hidden blocks."""
        return masked_reconstruction(
            online["restored"], batch.views[0], batch.extra["hidden"], self.setting.block, normalise=self.normalise
        )
