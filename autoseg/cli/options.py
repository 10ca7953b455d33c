"""Options and arguments that several verbs share, and the parsers of their values."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autoseg import log

if TYPE_CHECKING:
    from autoseg.pipeline.settings import Settings

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Seconds of a time span like `90s`, `3m`, `1.5h` or `1h30m`: hours, minutes, seconds, in that order.

    Raises:
        typer.BadParameter: anything else, a number without a unit among it, and a span of no length.
    """
    match = _DURATION.fullmatch(text.strip())
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    total = 3600 * hours + 60 * minutes + seconds
    if total <= 0:
        guess = f"; did you mean {text.strip()}m?" if text.strip().isdigit() and int(text) > 0 else ""
        raise typer.BadParameter(f"{text!r} is not a time span; expected for example 90s, 3m or 1h30m{guess}")
    return total


def parse_folds(text: str) -> str:
    """`all`, `all-data`, or fold numbers joined by commas, each once and in ascending order (`1,0` becomes `0,1`).

    Raises:
        typer.BadParameter: anything else.
    """
    if text.strip() in ("all", "all-data"):
        return text.strip()
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d+", part) for part in parts):
        raise typer.BadParameter(f"{text!r} names no folds; expected all, all-data, or numbers like 0 or 0,1,2")
    return ",".join(str(number) for number in sorted({int(part) for part in parts}))


def parse_fold(text: str) -> str:
    """A fold's number, or `all` (also `all-data`): one model on every case.

    Raises:
        typer.BadParameter: anything else.
    """
    if text.strip() in ("all", "all-data"):
        return "all"
    if not re.fullmatch(r"\d+", text.strip()):
        raise typer.BadParameter(f"{text!r} is no fold; expected a number like 0, or all-data")
    return str(int(text))


def leads() -> bool:
    """Whether this process speaks for the run: the only one, or the first of those that torchrun started."""
    return int(os.environ.get("RANK", "0")) == 0


def follow_along_or_lead(run_log: Path) -> None:
    """Logs to the terminal and the run's log; of several processes that train together only the first does."""
    if leads():
        log.configure(run_log=run_log)
    else:
        log.configure(quiet=True)


def parse_memory(text: str) -> float | Literal["auto"]:
    """GB of an accelerator's memory from `24GB`, `24 GiB` or `24`, or `auto`.

    Raises:
        typer.BadParameter: anything else, and no memory at all.
    """
    if text.strip().casefold() == "auto":
        return "auto"
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:g|gb|gib)?", text.strip(), re.IGNORECASE)
    if match is None or float(match[1]) <= 0:
        raise typer.BadParameter(f"{text!r} is no memory; expected gigabytes such as 24GB or 24, or auto")
    return float(match[1])


def command_line(context: typer.Context) -> list[str]:
    """The whole command as it was typed, for the record that a run keeps of how it was made."""
    return ["autoseg", *context.find_root().obj]


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
Steps = Annotated[int | None, typer.Option(metavar="N", min=1, help="Optimiser steps a fold, instead of a budget.")]
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


def settings_of(
    file: Path | None,
    assignments: list[str] | None,
    *,
    splits: Path | None = None,
    group_by: str | None = None,
    stratify: bool = False,
) -> Settings:
    """The user's choices from a file, from `--set`, and from the options about splits; later ones win."""
    from autoseg.pipeline.settings import read_settings

    chosen = {"splits.file": splits, "splits.group_by": group_by, "splits.stratify": stratify or None}
    return read_settings(file, assignments or (), chosen)
