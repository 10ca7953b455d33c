"""Choices that the pipeline makes from the user's words: which configurations, which folds, how long."""

from __future__ import annotations

import time
from dataclasses import dataclass

from autoseg.data.dataset import Dataset
from autoseg.data.splits import Split, load_splits
from autoseg.errors import ConfigurationError
from autoseg.plan.record import Plan
from autoseg.processes import usable_cores
from autoseg.records import unknown_name
from autoseg.workspace import Run

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
    def after(cls, seconds: float | None) -> Deadline:
        """A deadline that many seconds from now."""
        return cls(None if seconds is None else time.monotonic() + seconds)

    def left(self) -> float | None:
        """Seconds to the deadline, less what the report at the end needs."""
        return None if self.end is None else max(0.0, self.end - time.monotonic() - REPORT_SECONDS)


def check_length(budget: float | None, steps: int | None) -> None:
    """Refuses a training that is to end both with the time and after a number of steps."""
    if budget is not None and steps is not None:
        raise ConfigurationError(
            "a training has a budget or a number of steps, not both",
            got=f"{budget:g} s and {steps} steps",
            remedy="leave out --budget or --steps",
        )


def choose_configurations(plan: Plan, wanted: str, *, budget: bool = False) -> tuple[str, ...]:
    """Names of configurations to train.

    "auto" is every configuration without a previous stage; with a budget only the most promising one, because
    time spent on one network is worth more than the same time spread over several.

    Raises:
        ConfigurationError: an unknown name, or a stage of a cascade.
    """
    single = [name for name, item in plan.configurations.items() if item.previous_stage is None]
    if wanted == "auto":
        if budget:
            return ("3d_fullres",) if "3d_fullres" in single else ("2d",)
        return tuple(single)
    names = names_of(wanted)
    for name in names:
        if name not in plan.configurations:
            raise unknown_name("configuration", name, plan.configurations)
        if name not in single:
            raise ConfigurationError(
                f"{name} takes another configuration's predictions, which is not supported yet",
                expected="one of " + ", ".join(single),
            )
    return tuple(names)


def choose_folds(run: Run, wanted: str) -> tuple[str, ...]:
    """Names of folds to train: "all", or numbers separated by commas."""
    splits = load_splits(run.require(run.splits, "autoseg fingerprint"), Dataset.load(run.dataset).identifiers)
    known = [str(i) for i in range(len(splits))]
    if wanted == "all":
        return tuple(known)
    for name in names_of(wanted):
        if name not in known:
            raise ConfigurationError(f"there is no fold {name!r}", expected="all, or some of " + ",".join(known))
    return tuple(names_of(wanted))


def count_workers(workers: int | None) -> int:
    """Processes for reading and preprocessing: as asked, else one a core."""
    return usable_cores() if workers is None else max(1, workers)


def training_share(deadline: Deadline, steps: int | None, device: str, jobs: int) -> float | None:
    """Seconds that one model may train, for the planner; None where steps or patience set the length."""
    if steps is not None:
        return None
    left = deadline.left()
    return default_seconds(device) if left is None else left / jobs


def default_seconds(device: str) -> float | None:
    return CPU_SECONDS if device == "cpu" else None


def count_jobs(configurations: str, folds: tuple[str, ...]) -> int:
    return len(folds) * (1 if configurations == "auto" else len(names_of(configurations)))


def names_of(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def split_of(run: Run, dataset: Dataset, fold: int | str) -> Split:
    splits = load_splits(run.require(run.splits, "autoseg fingerprint DATASET --out RUN"), dataset.identifiers)
    if not str(fold).isdigit() or int(fold) >= len(splits):
        known = f"0 to {len(splits) - 1}"
        raise ConfigurationError(f"there is no fold {str(fold)!r}", where=run.splits, expected=known)
    return splits[int(fold)]
