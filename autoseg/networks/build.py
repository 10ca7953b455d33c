"""From a plan to a network, whatever family it names."""

from __future__ import annotations

import torch
from torch import nn

from autoseg.networks.family import network_family
from autoseg.plan.record import ConfigurationPlan


def build_network(
    configuration: ConfigurationPlan, channels: int, outputs: int, *, seed: int | None = None
) -> nn.Module:
    """The network that a configuration names, with fresh weights.

    Args:
        configuration: the plan of the configuration; `network` is a plug-in of kind "network", a `NetworkFamily` or a
            function of (configuration, channels, outputs).
        channels: input channels (for a cascade: image channels and one per foreground label).
        outputs: channels of the logits.
        seed: makes the initial weights reproducible without touching the global generator's state.

    Raises:
        ConfigurationError: an unknown network.
        PluginError: a plug-in that is no network.
    """
    family = network_family(configuration.network)
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        return family(configuration, channels, outputs)


def count_parameters(network: nn.Module) -> int:
    """Trainable numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
