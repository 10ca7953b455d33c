"""From gradients to new weights: the optimiser, the scaling of small gradients, clipping."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoseg.training.config import OptimizerConfig
from autoseg.training.runtime import Runtime


def make_optimizer(network: nn.Module, config: OptimizerConfig, device: str) -> torch.optim.Optimizer:
    """The optimiser that the configuration names, fused where the device has a fused kernel."""
    fused = torch.device(device).type in ("cpu", "cuda")
    weights = network.parameters()
    if config.name == "adamw":
        return torch.optim.AdamW(
            weights, lr=config.rate, betas=(0.9, 0.999), weight_decay=config.weight_decay, fused=fused
        )
    return torch.optim.SGD(
        weights,
        lr=config.rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
        fused=fused,
    )


class Descent:
    """Takes the optimiser's steps.

    Args:
        network: whose weights move.
        config: optimiser and its numbers.
        runtime: where; in float16 the loss is scaled up, so that small gradients do not become zero.
        clip: largest norm of the gradient; larger ones are scaled down.
    """

    def __init__(self, network: nn.Module, config: OptimizerConfig, runtime: Runtime, *, clip: float) -> None:
        self._weights, self._clip = list(network.parameters()), clip
        self._optimizer = make_optimizer(network, config, runtime.device)
        self._scaler = torch.amp.GradScaler(runtime.device, enabled=runtime.precision == "float16")

    def add_gradient(self, loss: Tensor) -> None:
        """Adds a loss's gradient to that of the step."""
        self._scaler.scale(loss).backward()

    def step(self, rate: float) -> None:
        """Moves the weights along the gradient added so far, and forgets it."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self._weights, self._clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
