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


class MomentumTeacher:
    """An exponential moving average of a network that is a network itself.

    After n updates of constant momentum m with weights w_1 .. w_n, its weights are
    m^n w_0 + (1 - m) sum of m^(n - i) w_i.

    Args:
        network: whose copy it begins as, on the device where it is then; not one that is wrapped for several processes.
        momentum: at the start of the training.
        final: at its end.

    Attributes:
        network: the copy. It needs no gradients, and stays in training mode, as in BYOL and DINO: batch norm uses the
            batch's own moments.
    """

    def __init__(self, network: nn.Module, momentum: float = 0.996, final: float = 1.0) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.momentum, self.final = momentum, final
        self._student = network

    @torch.no_grad()
    def update(self, progress: float) -> float:
        """Takes in the student's present weights by the momentum of that share of the training; returns the momentum.

        Buffers (a running mean, DINO's centre) are copied as they are.
        """
        momentum = momentum_at(progress, self.momentum, self.final)
        mine: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(mine, [weight.detach() for weight in self._student.parameters()], 1 - momentum)
        for own, given in zip(self.network.buffers(), self._student.buffers(), strict=True):
            own.copy_(given)
        return momentum

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"teacher": self.network.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.network.load_state_dict(state["teacher"])
