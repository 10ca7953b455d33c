"""The contract of each kind of plug-in, and the one door to all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch

from autoseg import plugins
from autoseg.errors import PluginError
from autoseg.testing.baselines import check_baseline
from autoseg.testing.commands import check_command, check_listing
from autoseg.testing.hooks import check_hook
from autoseg.testing.image_formats import check_image_format
from autoseg.testing.losses import check_loss
from autoseg.testing.metrics import check_metric
from autoseg.testing.model_formats import check_model_format
from autoseg.testing.networks import check_network
from autoseg.testing.normalizations import check_normalization
from autoseg.testing.planners import check_planner
from autoseg.testing.pretraining import check_pretraining
from autoseg.testing.registrations import (
    check_label_transfer,
    check_registration,
    check_regularizer,
    check_similarity,
)
from autoseg.testing.report_sections import check_report_section
from autoseg.testing.samplers import check_sampler
from autoseg.testing.subject import ContractBroken, Subject
from autoseg.testing.trainers import check_trainer
from autoseg.testing.transforms import check_augmentation, check_transform

CONTRACTS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "planner": check_planner,
        "trainer": check_trainer,
        "network": check_network,
        "loss": check_loss,
        "sampler": check_sampler,
        "transform": check_transform,
        "augmentation": check_augmentation,
        "normalization": check_normalization,
        "baseline": check_baseline,
        "similarity": check_similarity,
        "regularizer": check_regularizer,
        "registration": check_registration,
        "pretraining": check_pretraining,
        "hook": check_hook,
        "command": check_command,
        "model format": check_model_format,
        "listing": check_listing,
        "label transfer": check_label_transfer,
        "report section": check_report_section,
        "image format": check_image_format,
        "metric": check_metric,
    }
)
"""Kind -> its contract; the docstring lists the promises."""


def check_plugin(kind: str, name: str, **options: Any) -> None:
    """Checks that a plug-in keeps the promises of its kind, on small data that is made for it.

    The promises of a kind stand in the docstring of its contract: `help(autoseg.testing.CONTRACTS[kind])`. A plug-in is
    found by its name as everywhere: registered by a file that was imported, or by an installed package. Nothing but a
    temporary folder is written. Random generators of the caller stay as they are.

    Args:
        kind: of plug-in, such as "loss".
        name: of the plug-in.
        options: the plug-in's own, for kinds that take some (transform, similarity, baseline, ...), and what else the
            contract of the kind takes.

    Raises:
        ContractBroken: the first promise that it breaks; an AssertionError, with the plug-in's own error as its cause
            where it raised one.
        ConfigurationError: an unknown kind or name.
        TypeError: options that the contract of the kind does not take.
    """
    try:
        plugin = plugins.resolve(kind, name)
    except PluginError as error:
        raise ContractBroken(kind, name, "to be there, and to be called as its kind is", error) from error
    subject, contract = Subject(kind, name, plugin), CONTRACTS[kind]
    inspect.signature(contract).bind(subject, **options)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            contract(subject, **options)
    except ContractBroken:
        raise
    except Exception as error:
        raise ContractBroken(
            kind, name, "to work on the contract's data", f"{type(error).__name__}: {error}"
        ) from error
