"""This project's methods, as the benchmarks run them: one call that registers two images."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from autoseg import plugins
from autoseg.data.image import Image
from autoseg.records import unknown_name
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult, register
from autoseg.tasks.registration.pair import prepare
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Affine, as_displacement
from benchmarks.registration.peers import PEERS, Registered

CENTRED = "centred"
"""The method that leaves the images as they lie."""

Method = Callable[[Image, Image], RegistrationResult]


def find_method(name: str, models: dict[str, Path], seed: int = 0) -> Method:
    """A method by its name: `centred`, one of `models`, or a plug-in.

    Behind a colon stand the updates of a pair after a model's network, or the stages of a plug-in.

    Raises:
        ConfigurationError: nobody knows the name, or a stage is wrong.
    """
    if name == CENTRED:
        return _untouched
    plugin, _, stages = name.partition(":")
    if plugin in models:
        return _learned(models[plugin], int(stages) if stages else None)
    if plugin not in plugins.names("registration"):
        raise unknown_name("method", plugin, [CENTRED, *PEERS, *models, *plugins.names("registration")])
    options = RegistrationOptions.from_mapping({"stages": stages.split("+")} if stages else {}, where=name)
    return partial(_registered, options=options, method=plugin, seed=seed)


def timed(method: Method, fixed: Image, moving: Image) -> Registered:
    """Registers a pair; preparing the images counts, putting the transform on the fixed image's grid does not."""
    wall, processor = time.perf_counter(), time.process_time()
    transform = method(fixed, moving).transform
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    with torch.no_grad():
        field = as_displacement(transform, Grid.of(fixed), like=torch.zeros((), dtype=torch.float32))
    return Registered(field, wall, processor)


def _registered(fixed: Image, moving: Image, **how: Any) -> RegistrationResult:
    return register(prepare(fixed, moving), **how)


def _untouched(fixed: Image, moving: Image) -> RegistrationResult:
    matrix, zeros = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    return RegistrationResult(Affine(matrix, zeros, zeros), CENTRED)


def _learned(run: Path, updates: int | None) -> Method:
    from autoseg.tasks.registration.pipeline.learned import LearnedRegistration

    network = LearnedRegistration.load(run, fold="0", device="cpu")  # the fold that has not seen these cases
    return partial(network.register, instance_iterations=updates)
