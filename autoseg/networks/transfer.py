"""Weights from one network to start another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autoseg.errors import ConfigurationError


@dataclass(frozen=True)
class Transfer:
    """What became of each weight: names that were loaded, adapted to other channels, and left as they were."""

    loaded: tuple[str, ...]
    adapted: tuple[str, ...]
    left_out: tuple[str, ...]

    def describe(self) -> str:
        """One line for the log."""
        return f"{len(self.loaded)} weights loaded, {len(self.adapted)} adapted, {len(self.left_out)} left out"


def transfer_weights(network: nn.Module, weights: Mapping[str, Tensor], *, where: object = None) -> Transfer:
    """Loads what fits from `weights` into `network`, by name.

    A first convolution for another number of image channels takes the mean over the channels, scaled so that the
    response keeps its size. Weights of other shapes (heads for other classes, other widths) are left out.

    Raises:
        ConfigurationError: not one weight fits.
    """
    loaded, adapted, left_out = [], [], []
    state = network.state_dict()
    for name, mine in state.items():
        theirs = weights.get(name)
        if theirs is None:
            left_out.append(name)
        elif theirs.shape == mine.shape:
            state[name] = theirs.to(mine.dtype)
            loaded.append(name)
        elif theirs.ndim == mine.ndim > 2 and theirs.shape[0] == mine.shape[0] and theirs.shape[2:] == mine.shape[2:]:
            state[name] = _other_channels(theirs, mine.shape[1]).to(mine.dtype)
            adapted.append(name)
        else:
            left_out.append(name)
    if not loaded and not adapted:
        raise ConfigurationError(
            "not one pretrained weight fits this network",
            where=where,
            remedy="use weights of the same configuration and planner",
        )
    network.load_state_dict(state)
    return Transfer(tuple(loaded), tuple(adapted), tuple(left_out))


@torch.no_grad()
def _other_channels(weight: Tensor, channels: int) -> Tensor:
    mean = weight.mean(dim=1, keepdim=True) * (weight.shape[1] / channels)
    return mean.expand(-1, channels, *(-1,) * (weight.ndim - 2)).clone()
