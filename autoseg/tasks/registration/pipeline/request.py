"""What a registration is asked for, merged by the command line or written in Python, and never changed below."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from autoseg.tasks.registration.methods import RegistrationOptions

METHOD = "multi-stage"
"""Method that registers where no other is named."""


@dataclass(frozen=True)
class RegistrationRequest:
    """How two images are to be registered.

    Attributes:
        method: name of a plug-in of kind "registration".
        options: what is asked of it; None leaves everything to the method.
        seed: of what a method draws at random.
        device: "auto", "cpu", "cuda", "mps".
    """

    method: str = METHOD
    options: RegistrationOptions | None = None
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class SubjectsRequest:
    """How the cases of a data set are to be registered, in a folder of their own.

    Attributes:
        registration: of each pair.
        workers: processes; by default one per usable core.
        resume: go on in a folder where the same was begun; else it must hold no such work.
        plugin_files: Python files that register plug-ins, for other processes.
    """

    registration: RegistrationRequest = field(default_factory=RegistrationRequest)
    workers: int | None = None
    resume: bool = False
    plugin_files: tuple[Path, ...] = ()
