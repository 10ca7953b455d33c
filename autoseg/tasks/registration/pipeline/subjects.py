"""Registering the cases of a data set in many processes, in a folder that a later call can go on with."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from autoseg import plugins
from autoseg.data.dataset import Dataset
from autoseg.data.image import Image
from autoseg.processes import unordered, usable_cores
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.pipeline.request import SubjectsRequest
from autoseg.tasks.registration.subjects import register_subjects
from autoseg.training.runtime import find_device


@dataclass(frozen=True)
class SubjectRegistration:
    """How two subjects are registered, with everything that another process needs for it.

    Attributes:
        method: name of a plug-in of kind "registration".
        options: what is asked of it.
        seed: of what it draws at random.
        device: as PyTorch names it.
        plugin_files: Python files that register plug-ins.
    """

    method: str
    options: RegistrationOptions
    seed: int
    device: str
    plugin_files: tuple[Path, ...] = ()

    def register(self, fixed: Image, moving: Image) -> tuple[ImagePair, RegistrationResult]:
        """Registers two subjects in this process (see `registration.subjects.register_subjects`)."""
        for file in self.plugin_files:
            _load(file)
        if multiprocessing.parent_process() is not None:
            torch.set_num_threads(1)  # one of several processes that share the cores
        return register_subjects(fixed, moving, self.options, method=self.method, seed=self.seed, device=self.device)


class SubjectJob(Protocol):
    """A part of the work that a process does alone."""

    @property
    def result(self) -> Path:
        """The file that is written last: where it exists, the job is done."""
        ...


Job = TypeVar("Job", bound=SubjectJob)
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class SubjectsWork:
    """What all registrations of a data set's cases share.

    Attributes:
        data: the data set.
        out: folder to write to.
        registration: of each pair.
        workers: processes.
    """

    data: Dataset
    out: Path
    registration: SubjectRegistration
    workers: int

    @classmethod
    def of(cls, data: Dataset, out: Path, request: SubjectsRequest) -> SubjectsWork:
        """The work that is asked for, on this machine's device and cores; nothing is written.

        Raises:
            ConfigurationError: the device does not exist here.
        """
        asked = request.registration
        registration = SubjectRegistration(
            method=asked.method,
            options=asked.options or RegistrationOptions(),
            seed=asked.seed,
            device=find_device(asked.device),
            plugin_files=request.plugin_files,
        )
        return cls(data, out, registration, processes_for(registration.device, request.workers))

    @property
    def choices(self) -> dict[str, Any]:
        """What decides the result of any such work, by the names of the fields in the record of its folder."""
        return {
            "dataset": str(self.data.folder),
            "method": self.registration.method,
            "options": self.registration.options,
            "seed": self.registration.seed,
        }

    def run(self, function: Callable[[Job], Outcome], jobs: Sequence[Job], title: str) -> Iterator[Outcome]:
        """Does the jobs that an interrupted call has left; their outcomes come in the order in which they finish.

        Args:
            function: a picklable function that does a job and writes its `result`.
            jobs: done ones among them are passed over.
            title: of the progress line.

        Returns:
            What the function returned of each job that was left.
        """
        return unordered(function, [job for job in jobs if not job.result.exists()], title, workers=self.workers)


def processes_for(device: str, workers: int | None) -> int:
    """How many registrations run at once: one per core, or one alone on an accelerator."""
    if torch.device(device).type != "cpu":
        return 1
    return usable_cores() if workers is None else max(1, workers)


@cache
def _load(file: Path) -> None:
    """Registers a file's plug-ins, once per process; in the main process the command line has done so already."""
    if f"autoseg_plugin_{file.stem}" not in sys.modules:
        plugins.load_file(file)
