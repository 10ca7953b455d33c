"""Choices that the pipeline makes from the user's words: which configurations, which folds, how long."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from autoseg.errors import ConfigurationError
from autoseg.plan.record import Plan
from autoseg.processes import usable_cores
from autoseg.records import unknown_name
from autoseg.workspace import ALL_DATA

CPU_SECONDS = 3600.0
"""Training time of a fold on a CPU when the user gives neither steps nor a budget."""

GPU_STEPS = 250_000
"""nnU-Net's length: 1000 rounds of 250 steps."""

REPORT_SECONDS = 15.0
"""Kept free at the end of a budget for the post-processing search and the report."""


@dataclass(frozen=True)
class Deadline:
    """The moment at which a budget is used up; None as `end` means that there is no budget."""

    end: float | None

    @classmethod
    def after(cls, seconds: float | None, *, spent: float = 0.0) -> Deadline:
        """A deadline that many seconds from now, less what earlier calls of the same command have spent."""
        return cls(None if seconds is None else time.monotonic() + seconds - spent)

    def left(self) -> float | None:
        """Seconds to the deadline, less what the report at the end needs."""
        return None if self.end is None else max(0.0, self.end - time.monotonic() - REPORT_SECONDS)


def choose_configurations(plan: Plan, text: str, *, budget: bool = False) -> tuple[str, ...]:
    """Names of configurations to train, a cascade's first stage before its second.

    "auto" is every configuration of the plan; with a budget only the most promising one, because time spent on one
    network is worth more than the same time spread over several. A cascade's second stage brings its first along.

    Raises:
        ConfigurationError: an unknown name, or none.
    """
    if text == "auto":
        if budget:
            usual = [name for name in ("3d_fullres", "2d") if name in plan.configurations]
            return tuple(usual[:1]) or tuple(plan.configurations)  # a plan that was taken over may lack both
        return tuple(plan.configurations)
    names: list[str] = []
    for name in names_of(text):
        if name not in plan.configurations:
            raise unknown_name("configuration", name, plan.configurations)
        before = plan.configurations[name].previous_stage
        names += [part for part in (before, name) if part is not None]
    if not names:
        raise ConfigurationError(
            "no configuration is named", expected="auto, or some of " + ",".join(plan.configurations)
        )
    first = [name for name in dict.fromkeys(names) if plan.configurations[name].previous_stage is None]
    return tuple(dict.fromkeys([*first, *names]))


def wants_cascade(text: str) -> bool:
    """Whether the user names a stage of a cascade, which is then planned also where the data does not call for it."""
    return any(name in ("3d_lowres", "3d_cascade_fullres") for name in names_of(text))


def choose_folds(names: Sequence[str], text: str) -> tuple[str, ...]:
    """Names of folds to train: "all", "all-data" (one model on every case), or numbers separated by commas.

    Args:
        names: the folds of the run's splits.
        text: as the user names them.

    Raises:
        ConfigurationError: there is no such fold.
    """
    if text == "all-data":
        return (ALL_DATA,)
    if text == "all":
        return tuple(names)
    for name in names_of(text):
        if name not in names:
            raise ConfigurationError(
                f"there is no fold {name!r}", expected="all, all-data, or some of " + ",".join(names)
            )
    return tuple(names_of(text))


def count_workers(workers: int | None) -> int:
    """Processes for reading and preprocessing: as asked, else one per core."""
    return usable_cores() if workers is None else max(1, workers)


def default_seconds(device: str) -> float | None:
    """Seconds of a training when the user says nothing about its length; None where it is counted in steps."""
    return CPU_SECONDS if device == "cpu" else None


def count_jobs(configurations: str, folds: Sequence[str], every: Sequence[str]) -> int:
    """Trainings that a budget is shared by, before there is a plan (see `jobs.list_jobs`)."""
    if configurations == "auto":
        return len(folds)
    names = set(names_of(configurations))
    if "3d_cascade_fullres" not in names:
        return len(names) * len(folds)
    return len(names - {"3d_lowres"}) * len(folds) + len({*every, *folds})


def fold_names(folds: str | Sequence[str]) -> tuple[str, ...] | None:
    """Folds to predict with, as the user names them: "all" is None, "all-data" the model of all data."""
    if folds == "all":
        return None
    if folds == "all-data":
        return (ALL_DATA,)
    return tuple(names_of(folds) if isinstance(folds, str) else folds)


def names_of(text: str) -> list[str]:
    """Names that are joined by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]
