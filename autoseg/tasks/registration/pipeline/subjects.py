"""Registering images of different subjects in many processes."""

from __future__ import annotations

import multiprocessing
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from autoseg import plugins
from autoseg.data.image import Image
from autoseg.processes import usable_cores
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.subjects import register_subjects


@dataclass(frozen=True)
class SubjectRegistration:
    """How each pair is registered.

    Attributes:
        method: name of a plug-in of kind "registration".
        device: as PyTorch names it.
        plugin_files: Python files that register plug-ins, for other processes.
    """

    method: str
    options: RegistrationOptions
    seed: int
    device: str
    plugin_files: tuple[Path, ...] = ()


def lay_on(fixed: Image, moving: Image, fit: SubjectRegistration) -> tuple[ImagePair, RegistrationResult]:
    """Registers two subjects in this process (see `registration.subjects.register_subjects`)."""
    for file in fit.plugin_files:
        _load(file)
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # one of several processes that share the cores
    return register_subjects(fixed, moving, fit.options, method=fit.method, seed=fit.seed, device=fit.device)


def processes_for(device: str, workers: int | None) -> int:
    """How many registrations run at once: one a core, or one alone on an accelerator."""
    if torch.device(device).type != "cpu":
        return 1
    return usable_cores() if workers is None else max(1, workers)


@cache
def _load(file: Path) -> None:
    """Registers a file's plug-ins, once a process; in the main process the command line has done so already."""
    if f"autoseg_plugin_{file.stem}" not in sys.modules:
        plugins.load_file(file)
