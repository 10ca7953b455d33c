"""From gradients to new weights: the optimiser, the scaling of small gradients, clipping."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.training.config import OptimizerConfig
from autoseg.training.runtime import Runtime


def make_optimizer(
    network: nn.Module, config: OptimizerConfig, device: str, *, loaded: Collection[str] = ()
) -> torch.optim.Optimizer:
    """The optimiser that the configuration names, fused where the device has a fused kernel.

    Args:
        network: whose weights it moves.
        config: its name and numbers.
        device: where the weights are.
        loaded: names of parameters that form a first group of their own, before that of the others.
    """
    fused = torch.device(device).type in ("cpu", "cuda")
    weights: Any = network.parameters()
    if loaded:
        parts: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
        for name, weight in network.named_parameters():
            parts[name not in loaded].append(weight)
        weights = [{"params": part} for part in parts]
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
        loaded: names of parameters that have a rate of their own.
    """

    def __init__(
        self,
        network: nn.Module,
        config: OptimizerConfig,
        runtime: Runtime,
        *,
        clip: float,
        loaded: Collection[str] = (),
    ) -> None:
        self._weights, self._clip = list(network.parameters()), clip
        self._optimizer = make_optimizer(network, config, runtime.device, loaded=loaded)
        self._scaler = torch.amp.GradScaler(runtime.device, enabled=runtime.precision == "float16")

    def add_gradient(self, loss: Tensor) -> None:
        """Adds a loss's gradient to that of the step."""
        self._scaler.scale(loss).backward()

    def step(self, rate: float, loaded_rate: float | None = None) -> None:
        """Moves the weights along the gradient added so far, and forgets it.

        Args:
            rate: learning rate.
            loaded_rate: that of the loaded weights, where they have one of their own; 0 leaves them and their momentum
                as they are.
        """
        groups = self._optimizer.param_groups
        for group in groups:
            group["lr"] = rate
        if loaded_rate is not None:
            groups[0]["lr"] = loaded_rate
            if loaded_rate == 0:
                for weight in groups[0]["params"]:
                    weight.grad = None
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
