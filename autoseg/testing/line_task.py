"""A task that is trained in a moment, for contracts about the loop: a small network learns a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoseg.training.config import TrainingConfig
from autoseg.training.hooks import HookFactory
from autoseg.training.loop import Start, Training
from autoseg.training.runtime import Runtime
from autoseg.workspace import Fold


@dataclass(frozen=True)
class LineBatch:
    """Points of a line: x and y, (B, 1)."""

    x: Tensor
    y: Tensor
    cases: tuple[str, ...] = ("points",)

    def to(self, device: Any, memory_format: Any) -> LineBatch:
        """The same batch on a device."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))


class LineTask:
    """Learns y = 2 x - 1 from keyed random points; a step draws from the global generator, as dropout does."""

    labels: tuple[str, ...] = ("line",)

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network: nn.Module = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.2), nn.Linear(4, 1))

    @contextmanager
    def batches(self, steps: range, stream: int) -> Iterator[Iterable[LineBatch]]:
        """Eight points per batch, from the batch's number alone."""

        def batch(step: int) -> LineBatch:
            x = np.random.default_rng((stream, step)).normal(size=(8, 1)).astype(np.float32)
            return LineBatch(torch.from_numpy(x), torch.from_numpy(2 * x - 1))

        yield (batch(step) for step in steps)

    def loss(self, network: nn.Module, batch: LineBatch) -> Tensor:
        """Mean squared difference."""
        return (network(batch.x) - batch.y).square().mean()

    def validation(self, network: nn.Module, batch: LineBatch) -> tuple[Tensor, Tensor]:
        """The loss, and its sum with the number of batches."""
        loss = self.loss(network, batch)
        return loss, torch.stack([loss, torch.ones(())])

    def scores(self, counts: Tensor) -> dict[str, float | None]:
        """Near 1 for a small loss."""
        total, batches = counts.tolist()
        return {"line": 1 / (1 + total / batches)}

    def adapt(self, network: nn.Module, step: int, place: Any) -> bool:
        """Nothing changes."""
        return False

    def state(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing to take up."""


def train_line(fold: Fold, hooks: HookFactory, *, resume: bool = False, **choices: Any) -> dict[str, Tensor]:
    """Trains the line for six steps in rounds of two.

    Args:
        fold: folder.
        hooks: what is called.
        resume: go on from the last checkpoint.
        choices: of `TrainingConfig`.

    Returns:
        The weights.
    """
    config = TrainingConfig.from_mapping({"steps": 6, "round_steps": 2, "validation_share": 0.5, **choices})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        training = Training(LineTask(), config, Runtime(), fold, dimension=2, hooks=hooks, start=Start(resume=resume))
        training.run()
    return {name: weight.clone() for name, weight in training.network.state_dict().items()}
