"""Which right-angle rotation it was (Gidaris et al. 2018, arXiv:1803.07728; Taleb et al. 2020, arXiv:2006.03829)."""

from __future__ import annotations

from math import lcm

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from autoseg.tasks.pretraining.batch import DrawnExample, ViewBatch, ViewExample
from autoseg.tasks.pretraining.cutting import cut
from autoseg.tasks.pretraining.drawing import drawn, turned_view
from autoseg.tasks.pretraining.heads import mlp
from autoseg.tasks.pretraining.losses.position import rotation
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import Outputs, ViewMethod, watched
from autoseg.tasks.pretraining.rotations import Turn, possible_turns
from autoseg.tasks.pretraining.views import Shape


class Rotation(ViewMethod):
    """The encoder tells by which of the 24 (3D) or 4 (2D) right-angle rotations a patch was turned.

    Axes of unlike spacing are not exchanged, which leaves 8 rotations of thick slices. Nothing is interpolated, and the
    patch is as long along all axes that are exchanged. It is not longer than most images: zeros around them would tell
    how they were turned.

    Attributes:
        hidden: width of the classifier.
    """

    hidden: int = Field(default=256, ge=1)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The rotations to tell apart."""
        return possible_turns(self.setting.framed(self.setting.configuration.patch_size).spacing)

    @property
    def size(self) -> Shape:
        """Voxels of a view: the patch, or the median image where that is smaller, in whole blocks.

        Of one length, two blocks at least, along axes that are exchanged.
        """
        configuration, block = self.setting.configuration, self.setting.block
        median = configuration.median_shape[-configuration.dimension :]
        patch = [min(n, int(m)) for n, m in zip(configuration.patch_size, median, strict=True)]
        lengths = []
        for axis in range(len(patch)):
            group = {turn.axes[axis] for turn in self.turns}
            step, shortest = lcm(*(block[one] for one in group)), min(patch[one] for one in group)
            least = 2 if len(group) > 1 else 1
            lengths.append(max(shortest // step, least) * step)
        return tuple(lengths)

    def draw(self, rng: np.random.Generator, shape: Shape) -> DrawnExample:
        """One view as it lies, and "turn", the number of the rotation."""
        view = turned_view(rng, shape, self.size, self.setting.frame)
        turn = np.array(rng.integers(len(self.turns)), dtype=np.int64)
        return drawn(rng, [view], {"turn": turn})

    def make(self, region: np.ndarray, drawn: DrawnExample) -> ViewExample:
        """The view after its rotation."""
        turn = int(drawn.extra["turn"])
        image = self.turns[turn].apply(cut(region, drawn.region, drawn.views[0]))
        return ViewExample((image.contiguous(),), {"turn": torch.tensor(turn)})

    def heads(self) -> nn.ModuleDict:
        """The classifier."""
        return nn.ModuleDict({"classifier": mlp((self.setting.vector, self.hidden, len(self.turns)), "none")})

    def online(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """The "logits" of the rotations, (B, R)."""
        vectors = network.vectors(batch.views)
        return {"logits": network.heads["classifier"](vectors[0]), "embedding": watched(vectors)}

    def loss(self, online: Outputs, target: Outputs, batch: ViewBatch) -> Tensor:
        """Cross-entropy."""
        return rotation(online["logits"], batch.extra["turn"])
