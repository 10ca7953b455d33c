"""What is trained for pretraining: an encoder with a method's heads, on views of images without labels."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.batches.loading import Batches
from autoseg.errors import ConfigurationError, TrainingError
from autoseg.preprocessing.store import Store
from autoseg.tasks.pretraining.batch import ViewBatch
from autoseg.tasks.pretraining.methods.build import build_pretraining_network
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import Outputs, PretrainingMethod
from autoseg.tasks.pretraining.teacher import MomentumTeacher
from autoseg.tasks.pretraining.trainer.batches import ViewSource
from autoseg.tasks.pretraining.trainer.options import chosen_method
from autoseg.tasks.pretraining.trainer.sources import Sources, sources_file
from autoseg.tasks.pretraining.watch import Health, look
from autoseg.training.context import FoldContext
from autoseg.training.distributed import ranks
from autoseg.training.task import TRAINING, VALIDATION
from autoseg.workspace import ALL_DATA

MEASURES = ("deviation", "effective_rank", "alignment", "uniformity")
"""What of `pretraining.watch.Health` is written after every round."""

INFORMATION = "information"
"""Written too by methods that assign images to prototypes."""

PATIENCE = 3
"""Rounds in a row with collapsed embeddings after which a training stops."""

HEAD_PATIENCE = (10, 100)
"""Rounds in a row whose assignments say nothing of the image, and steps between the first and the last of them, after
which a training stops; some begin so."""

_WATCHED = 32  # images looked at after a round
_VIEWS = 2


class TeacherFollower:
    """What follows the student after each step: the method's buffers, then the teacher, if the method has one.

    Args:
        network: the student, on its device.
        method: of pretraining.
    """

    def __init__(self, network: PretrainingNetwork, method: PretrainingMethod) -> None:
        self._network, self._method = network, method
        self.teacher = None if method.momentum is None else MomentumTeacher(network, method.momentum)
        self._target: Outputs = {}

    @torch.no_grad()
    def target(self, batch: ViewBatch) -> Outputs:
        """What the teacher gives for a batch; empty without one."""
        if self.teacher is None:
            return {}
        outputs: Mapping[str, Tensor] = self.teacher.network(batch, teacher=True)
        return outputs

    def remember(self, target: Outputs) -> None:
        """Keeps the targets of the step's last batch, from which the method's buffers move."""
        self._target = target

    @torch.no_grad()
    def update(self, progress: float) -> None:
        """After the optimiser's step."""
        self._method.settle(self._network, self._target)
        if self.teacher is not None:
            self.teacher.update(progress)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {} if self.teacher is None else self.teacher.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        if self.teacher is not None:
            self.teacher.load_state(state)


class PretrainingTask:
    """What to train for pretraining (see `autoseg.training.task`).

    Embeddings of a few images, always the same views of them, are measured after each round; when they cannot tell
    images apart for `PATIENCE` rounds, the training stops.
    """

    labels: tuple[str, ...] = ()

    def __init__(self, context: FoldContext) -> None:
        _check(context)
        self.context = context
        self.setting, self.method = chosen_method(context.configuration, context.plan.channels)
        self.network: nn.Module = build_pretraining_network(self.setting, self.method, seed=context.config.seed)
        self._follower: TeacherFollower | None = None
        self._health: Health | None = None
        self._collapsed = self._uninformed = self._since = 0
        self._features = 0

    def follower(self, network: nn.Module) -> TeacherFollower:
        """What follows the network after each step; made once, when the network is on its device."""
        assert isinstance(network, PretrainingNetwork)
        self._follower = TeacherFollower(network, self.method)
        return self._follower

    def batches(self, steps: range, stream: int) -> AbstractContextManager[Batches]:
        """Views of drawn images, or the views that are looked at after each round, the same ones each time."""
        runtime = self.context.runtime
        workers = runtime.workers if stream == TRAINING else min(runtime.workers, 1)
        steps = steps if stream == TRAINING else range(self._looks)
        return Batches(self._sources[stream], steps, workers=workers, pin_memory=runtime.device.startswith("cuda"))

    def loss(self, network: nn.Module, batch: ViewBatch) -> Tensor:
        """The method's loss."""
        assert self._follower is not None
        target = self._follower.target(batch)
        self._follower.remember(target)
        return self.method.loss(network(batch), target, batch)

    def validation(self, network: nn.Module, batch: ViewBatch) -> tuple[Tensor, Tensor]:
        """Loss, and embeddings (views, images, F) with the method's assignments behind them.

        Those of other batches are zero, so that they add up.
        """
        assert self._follower is not None
        online = network(batch)
        loss = self.method.loss(online, self._follower.target(batch), batch)
        embedding = online["embedding"][:_VIEWS]
        self._features = embedding.shape[-1]
        if "assignment" in online:
            embedding = torch.cat((embedding, online["assignment"][:_VIEWS].to(embedding)), dim=-1)
        views, images, features = embedding.shape
        first = batch.step * self.setting.samples
        embeddings = embedding.new_zeros((views, self._looks * self.setting.samples, features))
        embeddings[:, first : first + images] = embedding
        return loss, embeddings

    def scores(self, counts: Tensor) -> dict[str, float | None]:
        """Nothing: there are no labels."""
        return {}

    def measures(self, counts: Tensor) -> dict[str, float | None]:
        """`MEASURES` of the embeddings, and `INFORMATION` of assignments if there are any."""
        features = self._features or counts.shape[-1]
        embedding, assignment = counts[..., :features], counts[..., features:].flatten(0, 1)
        assigns = assignment.shape[-1] > 0
        second = embedding[1] if len(embedding) > 1 else None
        self._health = look(embedding[0], second, assignment=assignment if assigns else None)
        measured = asdict(self._health)
        return {name: measured[name] for name in (*MEASURES, *([INFORMATION] if assigns else []))}

    def adapt(self, network: nn.Module, step: int, place: Any) -> bool:
        """Stops a training whose embeddings have collapsed, or whose head has.

        Raises:
            TrainingError: they have for `PATIENCE` rounds, or it for `HEAD_PATIENCE` rounds and steps.
        """
        if self._health is not None:
            self._collapsed = self._collapsed + 1 if self._health.collapsed else 0
            self._uninformed = self._uninformed + 1 if self._health.uninformed else 0
            self._since = step if self._uninformed <= 1 else self._since
        if self._health is not None and self._collapsed >= PATIENCE:
            raise TrainingError(
                "the pretraining has collapsed: the encoder no longer tells images apart",
                where=f"step {step}, and {PATIENCE} rounds before",
                got=self._health.reason,
                expected="embeddings that differ from image to image",
                remedy="lower the learning rate, take larger batches, or choose another method (masked-autoencoder "
                "does not collapse in this way)",
            )
        rounds, steps = HEAD_PATIENCE
        if self._health is not None and self._uninformed >= rounds and step - self._since >= steps:
            raise TrainingError(
                "the pretraining has collapsed: its head gives every image the same answer, from which the encoder "
                "learns nothing",
                where=f"step {step}, and since step {self._since}",
                got=f"{self._health.information:.3f} nats of information about the image",
                remedy="take larger batches (--set training.options.batch_size=32), lower the learning rate, or choose "
                "another method",
            )
        return False

    def state(self) -> dict[str, Any]:
        """For how many rounds embeddings have been collapsed, and the head."""
        return {"collapsed": self._collapsed, "uninformed": self._uninformed, "since": self._since}

    def load_state(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._collapsed, self._uninformed = state["collapsed"], state.get("uninformed", 0)
        self._since = state.get("since", 0)

    @property
    def _looks(self) -> int:
        return -(-_WATCHED // self.setting.samples)

    @cached_property
    def _sources(self) -> dict[int, ViewSource]:
        context = self.context
        weights = Sources.load(sources_file(context.run)).weights
        common: dict[str, Any] = {
            "store": Store(context.store_folder),
            "weights": {case: weights[case] for case in context.split.train},
            "method": self.method,
            "dimension": context.configuration.dimension,
            "batch_size": self.setting.samples,
            "seed": context.config.seed,
        }
        return {
            TRAINING: ViewSource(**common),
            VALIDATION: ViewSource(**common, in_turn=True, stream=VALIDATION),
        }


def _check(context: FoldContext) -> None:
    if context.fold != ALL_DATA:
        raise ConfigurationError(
            "a pretraining has no folds",
            got=f"fold {context.fold}",
            expected="all-data",
            remedy="images of a fold are kept out by `autoseg pretrain ... --hold-out splits.json:FOLD`",
        )
    if ranks().count > 1:
        raise ConfigurationError(
            "a pretraining runs in one process", got=f"{ranks().count} processes", remedy="start it without torchrun"
        )
