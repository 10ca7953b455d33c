"""What a user asks of a training: merged once, from options and files, and handed down as it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from autoseg import plugins
from autoseg.data.dataset import Reading
from autoseg.data.splits import SplitRule
from autoseg.errors import ConfigurationError
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.trainers import check_options
from autoseg.training.config import TrainingConfig
from autoseg.training.runtime import find_device


@dataclass(frozen=True)
class TrainingRequest:
    """Everything that the user chose about a run's trainings.

    `of` makes one; nobody below merges or resolves again.

    Attributes:
        configurations: "auto" or names joined by commas.
        folds: "all", "all-data" (one model on every case, without validation) or numbers joined by commas.
        budget: wall-clock seconds for everything, report included; a command that was interrupted and is resumed goes
            on with what is left of them. None leaves the length to `config`.
        device: where to compute: "cpu", "cuda", "cuda:1", "mps"; never "auto".
        planner: plug-in; None takes the trainer's, else chooses by device and budget.
        memory: accelerator memory to plan for in GB, or "auto" for that of the device; None as the planner has it.
        trainer: plug-in; None takes that of the plan's task.
        pretrained: checkpoint whose fitting weights start every training; or a run folder, whose plan is taken and
            whose weights start the same folds (`autoseg.pipeline.pretrained`).
        workers: processes; None chooses.
        resume: go on with an unfinished run; finished stages and folds are kept.
        config: how networks are trained.
        reading: how the data set's files are read where they leave a choice.
        splits: how cases are divided into folds; None keeps splits that are there, else makes nnU-Net's.
        command: the command line, for the report.
    """

    configurations: str = "auto"
    folds: str = "all"
    budget: float | None = None
    device: str = "cpu"
    planner: str | None = None
    memory: float | Literal["auto"] | None = None
    trainer: str | None = None
    pretrained: Path | None = None
    workers: int | None = None
    resume: bool = False
    config: TrainingConfig = field(default_factory=TrainingConfig)
    reading: Reading = field(default_factory=Reading)
    splits: SplitRule | None = None
    command: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        settings: Settings | None = None,
        steps: int | None = None,
        seed: int | None = None,
        loss: str | None = None,
        device: str = "auto",
        **choices: Any,
    ) -> TrainingRequest:
        """A request from what a user gave; wrong names are told now, not after the work that comes first.

        Args:
            settings: choices about trainings and splits of a file and of assignments (`autoseg.pipeline.settings`).
            steps: optimiser steps of each training, over the settings' length.
            seed: of all random numbers, over the settings'.
            loss: plug-in, over the settings' losses.
            device: "auto", "cpu", "cuda", "mps".
            choices: the other attributes.

        Raises:
            ConfigurationError: an unknown name, an option that the trainer does not have, or both a budget and a
                length.
        """
        settings = settings or Settings()
        request = cls(
            config=merged_config(settings.training, steps=steps, seed=seed, loss=loss),
            splits=settings.splits if settings.splits != SplitRule() else None,
            device=find_device(device),
            **{**choices, "command": tuple(choices.get("command", ()))},
        )
        check_length(request.budget, request.config)
        for kind, name in (("planner", request.planner), ("trainer", request.trainer), ("loss", loss)):
            if name is not None:
                plugins.resolve(kind, name)
        if request.trainer is not None:
            check_options(request.trainer, request.config)
        return request

    def with_(self, **changes: Any) -> TrainingRequest:
        """A copy with some attributes changed."""
        return replace(self, **changes)

    @property
    def length(self) -> float | None:
        """The length of a training that the user gave, in steps or seconds; None where budget or device decide."""
        return self.config.steps or self.config.seconds


def merged_config(
    config: TrainingConfig, *, steps: int | None = None, seed: int | None = None, loss: str | None = None
) -> TrainingConfig:
    """The choices about a training with those over them that have an option of their own; None changes nothing.

    Args:
        config: the choices so far.
        steps: optimiser steps; they take the place of seconds too.
        seed: of all random numbers of the training.
        loss: a name; it takes the place of all losses.
    """
    changes: dict[str, Any] = {}
    if steps is not None:
        changes |= {"steps": steps, "seconds": None}
    if seed is not None:
        changes["seed"] = seed
    if loss is not None:
        changes["losses"] = {loss: 1.0}
    return config.with_(**changes) if changes else config


def check_length(budget: float | None, config: TrainingConfig) -> None:
    """Refuses a training that is to end both with the budget and by a length of its own.

    Raises:
        ConfigurationError: both are given.
    """
    length = (
        f"{config.steps} steps" if config.steps else f"{config.seconds:g} s per training" if config.seconds else None
    )
    if budget is not None and length is not None:
        raise ConfigurationError(
            "a training has a budget or a length of its own, not both",
            got=f"{budget:g} s for everything and {length}",
            remedy="leave out --budget, or the number of steps or seconds",
        )
