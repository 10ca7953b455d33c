"""Exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """A running average of a network's weights (Polyak and Juditsky, 1992; decay with warm-up as in TensorFlow).

    Args:
        network: whose weights are averaged.
        decay: weight of the past per step; early on min(decay, (1 + n) / (10 + n)), so that the start is forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay, self._updates = decay, 0
        self._weights = list(network.parameters())
        self._average = [weight.detach().clone() for weight in self._weights]

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the network's present weights."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(self._average, [weight.detach() for weight in self._weights], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the context the network has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, int | list[Tensor]]:
        """For a checkpoint."""
        return {"updates": self._updates, "average": self._average}

    @torch.no_grad()
    def load_state(self, state: dict) -> None:
        """From a checkpoint."""
        self._updates = state["updates"]
        for mine, stored in zip(self._average, state["average"], strict=True):
            mine.copy_(stored)

    @torch.no_grad()
    def _swap(self) -> None:
        for weight, average in zip(self._weights, self._average, strict=True):
            kept = weight.detach().clone()
            weight.copy_(average)
            average.copy_(kept)
