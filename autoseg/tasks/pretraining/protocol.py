"""What a self-supervised method is: which views it needs, what it adds to the encoder, and what it lowers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import prod
from typing import ClassVar, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from autoseg.plan.record import ConfigurationPlan
from autoseg.records import Record
from autoseg.tasks.pretraining.batch import DrawnExample, ViewBatch, ViewExample
from autoseg.tasks.pretraining.cutting import cut
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.presets import PRESETS, ViewPreset
from autoseg.tasks.pretraining.views import Frame, Shape

Outputs = Mapping[str, Tensor]
"""What the network gives for a batch, by name. "embedding" is among those of the student: (V, B, F) without gradient,
the encoder's vectors of V views of each image, for `watch.look`. A method that sorts images may give "assignment" too:
(V, B, K) without gradient, the probabilities of its K prototypes as a target."""


class PretrainingMethod(Protocol):
    """A plug-in of kind "pretraining" makes one, from a `PretrainingSetting` and options by name.

    A method has no state: what changes stands in the network's parameters and buffers, so that checkpoints have it.
    One step of a trainer:

        drawn = method.draw(rng, shape)                      for each example; reads no voxel
        example = method.make(region, drawn)                 from the voxels of drawn.region
        batch = collate(examples, cases)
        online = network(batch)                              network = PretrainingNetwork(encoder, method)
        target = teacher.network(batch, teacher=True)        without gradients; only where `momentum` is not None
        loss = method.loss(online, target, batch)
        ... the optimiser's step ...
        method.settle(network, target); teacher.update(progress)

    Attributes:
        momentum: of the teacher at the start of the training; None for a method without teacher.
        decodes: whether the segmentation network's decoder is trained and handed on beside its encoder
            (`PretrainingNetwork.decoded`).
    """

    @property
    def momentum(self) -> float | None: ...

    @property
    def decodes(self) -> bool: ...

    def draw(self, rng: np.random.Generator, shape: Shape) -> DrawnExample:
        """Draws an example from an image of that spatial shape, (Z, Y, X) or (Y, X)."""

    def make(self, region: np.ndarray, drawn: DrawnExample) -> ViewExample:
        """The example from the voxels (C, *drawn.region.size) float32 of its region."""

    def heads(self) -> nn.ModuleDict:
        """What is trained beside the encoder, with fresh weights from the global generator."""

    def online(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """What the student gives, with gradients."""

    def target(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """What the teacher gives; called without gradients."""

    def loss(self, online: Outputs, target: Outputs, batch: ViewBatch) -> Tensor:
        """The scalar to minimise; `target` is empty for a method without teacher."""

    def settle(self, network: PretrainingNetwork, target: Outputs) -> None:
        """Called after the optimiser's step with the student's network, to change its buffers."""


class PretrainingSetting(Record):
    """What every method is made for.

    Attributes:
        configuration: the network's topology, patch and spacing, as the planner chose them.
        channels: of the images.
        views: how views may differ.
        batch_size: examples of a batch; None takes the plan's. Heads choose their normalisation by it.
    """

    configuration: ConfigurationPlan
    channels: int = Field(ge=1)
    views: ViewPreset = PRESETS["other"]
    batch_size: int | None = Field(default=None, ge=1)

    @property
    def samples(self) -> int:
        """Examples of a batch."""
        return self.batch_size or self.configuration.batch_size

    @property
    def block(self) -> Shape:
        """Voxels of the image for one of the encoder's coarsest, along each axis: the block that masks are made of."""
        configuration = self.configuration
        return tuple(prod(stride[axis] for stride in configuration.strides) for axis in range(configuration.dimension))

    @property
    def grid(self) -> Shape:
        """Blocks of a patch along each axis."""
        return tuple(n // b for n, b in zip(self.configuration.patch_size, self.block, strict=True))

    @property
    def frame(self) -> Frame:
        """The grid of a view of the network's whole patch."""
        return self.framed(self.configuration.patch_size)

    @property
    def vector(self) -> int:
        """Length of the encoder's vector of an image (`features.pooled`)."""
        return 2 * self.configuration.features_per_stage[-1]

    def framed(self, size: Shape) -> Frame:
        """The grid of a view of another size at the plan's spacing."""
        spacing = self.configuration.spacing
        return Frame(tuple(size), spacing[len(spacing) - len(size) :])

    def smaller(self, share: float) -> Shape:
        """A view of about that share of the patch's lengths, in whole blocks.

        At least two along an axis if it has two, so that the coarsest features have more than one voxel.
        """
        cells = (
            min(cells, max(2, round(n * share / block)))
            for n, cells, block in zip(self.configuration.patch_size, self.grid, self.block, strict=True)
        )
        return tuple(count * block for count, block in zip(cells, self.block, strict=True))


class ViewMethod(Record, ABC):
    """What the methods of this package have in common; the parts that most of them need not change.

    Attributes:
        setting: what it is made for.
    """

    compares: ClassVar[bool] = False
    """Whether images of a batch are compared with each other, so that more of them teach more."""

    setting: PretrainingSetting

    @property
    def momentum(self) -> float | None:
        """No teacher."""
        return None

    @property
    def decodes(self) -> bool:
        """The encoder alone."""
        return False

    @abstractmethod
    def draw(self, rng: np.random.Generator, shape: Shape) -> DrawnExample:
        """Draws an example from an image of that spatial shape."""

    def make(self, region: np.ndarray, drawn: DrawnExample) -> ViewExample:
        """The views that were drawn, and `extra` as it was drawn."""
        views = tuple(cut(region, drawn.region, view, self.setting.views.policy) for view in drawn.views)
        return ViewExample(views, {name: torch.from_numpy(np.array(values)) for name, values in drawn.extra.items()})

    @abstractmethod
    def heads(self) -> nn.ModuleDict:
        """What is trained beside the encoder."""

    @abstractmethod
    def online(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """What the student gives."""

    def target(self, network: PretrainingNetwork, batch: ViewBatch) -> Outputs:
        """Nothing, without a teacher."""
        return {}

    @abstractmethod
    def loss(self, online: Outputs, target: Outputs, batch: ViewBatch) -> Tensor:
        """The scalar to minimise."""

    def settle(self, network: PretrainingNetwork, target: Outputs) -> None:
        """Nothing to change."""


def watched(vectors: list[Tensor]) -> Tensor:
    """Vectors (B, F) of some views of each image as the output "embedding", (V, B, F) float32 without gradient."""
    return torch.stack([vector.detach().float() for vector in vectors])
