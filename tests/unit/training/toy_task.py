"""A tiny task for tests of the loop: a network of two weights learns a line from keyed random points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoseg.training.task import TRAINING


@dataclass(frozen=True)
class ToyBatch:
    x: Tensor
    y: Tensor
    cases: tuple[str, ...] = ("case_a", "case_b")

    def to(self, device: Any, memory_format: Any) -> ToyBatch:
        return replace(self, x=self.x.to(device), y=self.y.to(device))


class ToyTask:
    """Learns y = 2 x - 1. From `poisoned` on, batches of the training stream hold NaN.

    Sample i of batch n of `size` is drawn from the key n * size + i, so that two batches of four are one of eight.
    `score` is what validation says instead of the truth.
    """

    labels = ("line",)

    def __init__(
        self,
        seed: int = 0,
        poisoned: int | None = None,
        adaptive: bool = False,
        size: int = 8,
        score: float | None = None,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network: nn.Module = nn.Linear(1, 1)
        self.seed, self.poisoned, self.adaptive, self.size, self.score = seed, poisoned, adaptive, size, score
        self.shift, self.opened = 0.0, []

    @contextmanager
    def batches(self, steps: range, stream: int) -> Iterator[Iterator[ToyBatch]]:
        self.opened.append((stream, steps.start))
        yield (self._batch(step, stream) for step in steps)

    def _batch(self, step: int, stream: int) -> ToyBatch:
        keys = range(step * self.size, (step + 1) * self.size)
        drawn = [np.random.default_rng((self.seed, stream, key)).normal(self.shift, 1) for key in keys]
        x = np.array(drawn, np.float32)[:, None]
        y = 2 * x - 1
        if stream == TRAINING and self.poisoned is not None and step >= self.poisoned:
            y[0] = np.nan
        return ToyBatch(torch.from_numpy(x), torch.from_numpy(y))

    def loss(self, network: nn.Module, batch: ToyBatch) -> Tensor:
        return (network(batch.x) - batch.y).square().mean()

    def validation(self, network: nn.Module, batch: ToyBatch) -> tuple[Tensor, Tensor]:
        loss = self.loss(network, batch)
        return loss, torch.stack([loss, torch.ones(())])

    def scores(self, counts: Tensor) -> dict[str, float | None]:
        total, batches = counts.tolist()
        return {"line": 1 / (1 + total / batches) if self.score is None else self.score}

    def adapt(self, network: nn.Module, step: int, place: Any) -> bool:
        if self.adaptive:
            self.shift = step / 10
        return self.adaptive

    def state(self) -> dict[str, Any]:
        return {"shift": self.shift}

    def load_state(self, state: dict[str, Any]) -> None:
        self.shift = state["shift"]
