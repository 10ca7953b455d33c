"""From a name and options to a method, and from a method to its network."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch

from autoseg import plugins
from autoseg.errors import ConfigurationError
from autoseg.networks.build import build_network
from autoseg.plan.record import ConfigurationPlan
from autoseg.records import Record
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import PretrainingMethod, PretrainingSetting

MANY = 16
"""Images of a batch that are compared with each other, where their voxels allow it."""

MOST_VOXELS = 2**22
"""Of the views of such a batch: an encoder's memory of them is about that of training the default plan for 8 GB."""


def planned_images(method: PretrainingMethod, configuration: ConfigurationPlan) -> int:
    """Images per step where the user names none: the plan's, or as many more as a method that compares them can use.

    Args:
        method: if its attribute `compares` is true, batches are larger; `view_size` are the voxels of one of two views,
            the patch where it has none.
        configuration: with the batch size of a segmentation.
    """
    planned = configuration.batch_size
    if not getattr(method, "compares", False):
        return planned
    voxels = prod(getattr(method, "view_size", configuration.patch_size))
    return max(planned, min(MANY, MOST_VOXELS // (2 * voxels)))


def build_method(name: str, setting: PretrainingSetting, options: Mapping[str, Any] | None = None) -> PretrainingMethod:
    """A method of pretraining for a setting.

    Args:
        name: plug-in of kind "pretraining": a record with a field `setting`, or a callable that takes the setting and
            the options by name.
        setting: network, patch, channels, views and batch size.
        options: of the method, by the names of its fields.

    Raises:
        ConfigurationError: an unknown method or option (with the nearest known name), or a wrong value.
    """
    plugin = plugins.resolve("pretraining", name)
    options = dict(options or {})
    if isinstance(plugin, type) and issubclass(plugin, Record):
        method: PretrainingMethod = plugin.from_mapping(
            {"setting": setting, **options}, where=f"pretraining method {name}"
        )  # type: ignore[assignment]
        return method
    try:
        method = plugin(setting, **options)
    except TypeError as error:
        raise ConfigurationError(str(error), where=f"pretraining method {name}", got=options) from error
    return method


def build_pretraining_network(
    setting: PretrainingSetting, method: PretrainingMethod, *, seed: int | None = None
) -> PretrainingNetwork:
    """The network of a setting with fresh weights.

    Args:
        setting: names the network whose encoder is trained.
        method: of pretraining.
        seed: makes the weights reproducible without touching the global generator's state.

    Raises:
        ConfigurationError: an unknown network, or one without a known encoder.
    """
    whole = build_network(setting.configuration, setting.channels, 1, seed=seed)
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        return PretrainingNetwork(whole, method, setting.configuration)
