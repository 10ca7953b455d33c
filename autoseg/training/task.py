"""What the loop asks of a task. A trainer plug-in makes one; the loop does the rest."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

TRAINING, VALIDATION = 0, 1
"""Streams of samples; each has its own keyed random numbers."""


class TaskBatch(Protocol):
    """The least that a batch has: names of the cases in it, for error messages."""

    @property
    def cases(self) -> tuple[str, ...]: ...

    def to(self, device: Any, memory_format: Any) -> Any: ...


class Task(Protocol):
    """One thing to train. Tasks are narrow: they own no device, precision, schedule, checkpoint or random state.

    Several processes may train one task together (`autoseg.training.distributed.ranks`), each with its share of every
    batch. Loss and counts are then made so that all of them have the loss of the whole batch, and the counts of all
    processes add up (`losses.target.Target.across`); after `adapt` all must be in the same state.

    Attributes:
        network: the module to train, on the CPU, with its initial weights.
        labels: names of the scores that `scores` gives, for tables.
    """

    network: nn.Module
    labels: tuple[str, ...]

    def batches(self, steps: range, stream: int) -> AbstractContextManager[Iterable[TaskBatch]]:
        """Batches of consecutive numbers, in order, equal for equal numbers whatever the number of workers."""
        ...

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """The scalar to minimise."""
        ...

    def validation(self, network: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """Loss and a tensor of counts that `scores` understands; counts of several batches are added."""
        ...

    def scores(self, counts: Tensor) -> dict[str, float | None]:
        """A score in [0, 1] per label from added counts; None where a label never occurred."""
        ...

    def adapt(self, network: nn.Module, step: int, place: Any) -> bool:
        """Called after each round, to change what is sampled; True if batches must be drawn anew."""
        ...

    def state(self) -> dict[str, Any]:
        """What `adapt` has changed, for a checkpoint."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        ...


class Follower(Protocol):
    """Something that follows the network's weights, such as a momentum teacher."""

    def update(self, progress: float) -> Any:
        """After each optimiser step, with the share of the training that is done."""
        ...

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        ...


@runtime_checkable
class FollowedTask(Task, Protocol):
    """A task with something that follows its network; the loop keeps it up to date, and in its checkpoints."""

    def follower(self, network: nn.Module) -> Follower:
        """Called once, with the network on its device and with its initial weights."""
        ...


@runtime_checkable
class MeasuredTask(Task, Protocol):
    """A task with numbers of its own beside scores."""

    def measures(self, counts: Tensor) -> dict[str, float | None]:
        """Numbers by name from added counts of `validation`, for the metrics of the round."""
        ...
