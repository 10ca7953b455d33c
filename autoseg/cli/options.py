"""Options and arguments that several verbs share: single ones, groups of them as records, and what is made of them.

A verb that takes a record has an option for each of its fields (`autoseg.cli.option_records`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autoseg import log
from autoseg.cli.values import (
    parse_colours,
    parse_duration,
    parse_fold,
    parse_folds,
    parse_label_values,
    parse_memory,
    parse_validated_folds,
)

if TYPE_CHECKING:
    from autoseg.data.dataset import Reading
    from autoseg.pipeline.settings import Settings

DatasetFolder = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET", exists=True, file_okay=False, help="Folder with images and labels; its layout is detected."
    ),
]
ExistingRun = Annotated[
    Path, typer.Argument(metavar="RUN", exists=True, file_okay=False, help="Run folder made by an earlier step.")
]
NewRun = Annotated[
    Path, typer.Option("--out", metavar="RUN", file_okay=False, help="Run folder; made if it is not there.")
]
Budget = Annotated[
    float | None,
    typer.Option(
        metavar="T",
        parser=parse_duration,
        help="Time for everything, like 90s, 20m or 1h30m: the schedule is fitted to this machine's speed.",
    ),
]
Steps = Annotated[int | None, typer.Option(metavar="N", min=1, help="Optimiser steps per fold, instead of a budget.")]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to compute; auto takes a GPU if there is one.")
]
Configurations = Annotated[
    str, typer.Option(metavar="NAMES", help="auto, or names joined by commas, such as 2d,3d_fullres.")
]
Folds = Annotated[
    str,
    typer.Option(
        metavar="FOLDS",
        parser=parse_folds,
        help="all, numbers joined by commas, or all-data: one model on every case, validated on none.",
    ),
]
ValidatedFolds = Annotated[
    str,
    typer.Option(metavar="FOLDS", parser=parse_validated_folds, help="all, or numbers joined by commas."),
]
Fold = Annotated[
    str,
    typer.Option(
        metavar="K",
        parser=parse_fold,
        help="Fold whose cases are kept for validation, or all-data to train on every case.",
    ),
]
ModelConfiguration = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Configuration, or a+b for the ensemble of two; by default the run's best."),
]
ModelFolds = Annotated[
    str,
    typer.Option(
        metavar="FOLDS",
        parser=parse_folds,
        help="Networks to take: all that are trained, numbers joined by commas, or all-data.",
    ),
]
Planner = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Planner (see `autoseg list planner`); chosen by budget if not given."),
]
Trainer = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Trainer (see `autoseg list trainer`); by default the plan's, at first the one for segmentation.",
    ),
]
Loss = Annotated[
    str | None, typer.Option(metavar="NAME", help="Loss (see `autoseg list loss`); chosen by the labels if not given.")
]
Seed = Annotated[int | None, typer.Option(metavar="N", min=0, help="Seed of every random number.", show_default="0")]
Memory = Annotated[
    str | None,
    typer.Option(metavar="GB", help="GPU memory to plan for, like 24GB, or auto for that of the device."),
]
LabelNames = Annotated[
    Path | None,
    typer.Option(
        metavar="DATASET_JSON", exists=True, dir_okay=False, help="dataset.json that names labels or regions."
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="TOML file with choices about training and splits (see `autoseg list settings`).",
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="One choice, like training.optimizer=adamw; may be given several times."
    ),
]
Splits = Annotated[
    Path | None,
    typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Splits to use, in the form of nnU-Net's JSON."),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="RULE",
        help="Keep cases of a patient together: a regular expression with one group, or FILE.csv:COLUMN.",
    ),
]
Stratify = Annotated[
    bool, typer.Option("--stratify", help="Balance over the folds which classes occur in their cases.")
]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, help="Processes beside the main one; by default by the cores."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped, exactly.")]
Pretrained = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN|FILE",
        exists=True,
        help="Start from a trained or imported run (the same folds; plan-and-train takes its plan too), or from the "
        "matching weights of a checkpoint.",
    ),
]
Series = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        help="Which volume of a DICOM folder with several: largest, or a part of its description, number or UID.",
    ),
]
TrustArrays = Annotated[
    bool,
    typer.Option(
        "--trust-arrays", help="Lay files of a case on each other by array index where their headers disagree."
    ),
]
Untilt = Annotated[bool, typer.Option("--untilt", help="Resample CT slices of a tilted gantry onto an upright grid.")]
LabelValues = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="VALUES",
        parser=parse_label_values,
        help="All label values, like 0,128,255, where no dataset.json names them; others are errors then.",
    ),
]
LabelColours = Annotated[
    str | None,
    typer.Option(
        metavar="COLOURS",
        parser=parse_colours,
        help="Label values of the colours of masks that are pictures, like '#000000=0,#ff0000=1'.",
    ),
]
NearestColours = Annotated[
    bool,
    typer.Option("--nearest-colours", help="Let colours that have no value count as the nearest one that has."),
]


@dataclass(frozen=True)
class ImageReading:
    """How image files are read where they leave a choice."""

    series: Series = None
    trust_arrays: TrustArrays = False
    untilt: Untilt = False


@dataclass(frozen=True)
class LabelReading:
    """How label files are read where they leave a choice."""

    labels: LabelValues = None
    label_colours: LabelColours = None
    nearest_colours: NearestColours = False


@dataclass(frozen=True)
class Effort:
    """How long is trained, and on what."""

    budget: Budget = None
    steps: Steps = None
    device: Device = "auto"


@dataclass(frozen=True)
class Learning:
    """How a network learns, and from which weights it starts."""

    trainer: Trainer = None
    loss: Loss = None
    pretrained: Pretrained = None


@dataclass(frozen=True)
class Splitting:
    """Which cases are validated in which fold."""

    splits: Splits = None
    group_by: GroupBy = None
    stratify: Stratify = False


@dataclass(frozen=True)
class Choices:
    """Choices about training and splits that have no option of their own."""

    config: ConfigFile = None
    assignments: Assignments = None


@dataclass(frozen=True)
class Execution:
    """How a long work is carried out: from which seed, by how many processes, from the beginning or on."""

    seed: Seed = None
    workers: Workers = None
    resume: Resume = False


@dataclass(frozen=True)
class ModelChoice:
    """Which of a run's networks are taken."""

    configuration: ModelConfiguration = None
    folds: ModelFolds = "all"


def reading_of(images: ImageReading, labels: LabelReading | None = None) -> Reading:
    """How the files are read that a command is given."""
    from autoseg.data.dataset import Reading

    choices = vars(images) | ({} if labels is None else vars(labels))
    return Reading.from_mapping({name: value for name, value in choices.items() if value is not None})


def settings_of(choices: Choices, splitting: Splitting | None = None) -> Settings:
    """The user's choices from a file, from `--set`, and from the options about splits; later ones win."""
    from autoseg.pipeline.settings import read_settings

    splits = splitting or Splitting()
    chosen = {
        "splits.file": splits.splits,
        "splits.group_by": splits.group_by,
        "splits.stratify": splits.stratify or None,
    }
    return read_settings(choices.config, choices.assignments or (), chosen)


def gigabytes(memory: str | None) -> float | Literal["auto"] | None:
    """What `--memory` asks for; None where it is not given."""
    return None if memory is None else parse_memory(memory)


def command_line(context: typer.Context) -> list[str]:
    """The whole command as it was typed, for the record that a run keeps of how it was made."""
    return ["autoseg", *context.find_root().obj]


def plugin_files(context: typer.Context) -> tuple[Path, ...]:
    """The files of `--plugin`, for processes that a verb starts."""
    return tuple(context.find_root().params.get("plugin") or ())


def leads() -> bool:
    """Whether this process speaks for the run: the only one, or the first of those that torchrun started."""
    return int(os.environ.get("RANK", "0")) == 0


def follow_along_or_lead(run_log: Path) -> None:
    """Logs to the terminal and the run's log; of several processes that train together only the first does."""
    if leads():
        log.configure(run_log=run_log)
    else:
        log.configure(quiet=True)
