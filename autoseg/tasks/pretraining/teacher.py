"""The momentum teacher: a copy of the network that follows it slowly, as a service of the loop."""

from __future__ import annotations

import copy
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn


def momentum_at(progress: float, base: float, final: float = 1.0) -> float:
    """The momentum at a share of the training: from `base` at 0 by a cosine to `final` at 1.

    final - (final - base) (cos(pi progress) + 1) / 2; progress beyond [0, 1] counts as its end.

    Source: Grill et al. 2020 (BYOL), arXiv:2006.07733, section 3.2 (there from 0.996 to 1).
    """
    share = min(max(progress, 0.0), 1.0)
    return final - (final - base) * (cos(pi * share) + 1) / 2


MEMORY = 0.1
"""Share of the training that a teacher averages over at most."""


class MomentumTeacher:
    """An exponential moving average of a network that is a network itself.

    After n updates of constant momentum m with weights w_1 .. w_n, its weights are
    m^n w_0 + (1 - m) sum of m^(n - i) w_i.

    The usual 0.996 averages over 250 steps. A training of a few hundred steps would end before such a teacher has left
    its random weights, and the student would have learned to predict those; so the momentum begins with no more than
    what averages over `MEMORY` of the training. From 2500 steps on that is no limit to 0.996.

    Args:
        network: whose copy it begins as, on the device where it is then; not one that is wrapped for several processes.
        momentum: at the start of a long training.
        final: at the end.

    Attributes:
        network: the copy. It needs no gradients, and stays in training mode, as in BYOL and DINO: batch norm uses the
            batch's own moments.
    """

    def __init__(self, network: nn.Module, momentum: float = 0.996, final: float = 1.0) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.momentum, self.final = momentum, final
        self._student = network
        self._progress = 0.0

    @torch.no_grad()
    def update(self, progress: float) -> float:
        """Takes in the student's present weights by the momentum of that share of the training; returns the momentum.

        How far the training went since the last update tells how many steps it has. Buffers (a running mean, DINO's
        centre) are copied as they are.
        """
        step, self._progress = max(progress - self._progress, 0.0), progress
        momentum = momentum_at(progress, max(0.0, min(self.momentum, 1 - step / MEMORY)), self.final)
        mine: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(mine, [weight.detach() for weight in self._student.parameters()], 1 - momentum)
        for own, given in zip(self.network.buffers(), self._student.buffers(), strict=True):
            own.copy_(given)
        return momentum

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"teacher": self.network.state_dict(), "progress": self._progress}

    def load_state(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.network.load_state_dict(state["teacher"])
        self._progress = state.get("progress", 0.0)
