"""Options and arguments that several verbs share, and the parsers of their values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

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
    """`all`, or fold numbers joined by commas, each once and in ascending order (`1,0` becomes `0,1`).

    Raises:
        typer.BadParameter: anything else.
    """
    if text.strip() == "all":
        return "all"
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d+", part) for part in parts):
        raise typer.BadParameter(f"{text!r} names no folds; expected all, or numbers like 0 or 0,1,2")
    return ",".join(str(number) for number in sorted({int(part) for part in parts}))


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
Folds = Annotated[str, typer.Option(metavar="FOLDS", parser=parse_folds, help="all, or numbers joined by commas.")]
Planner = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Planner (see `autoseg list planner`); chosen by budget if not given."),
]
Trainer = Annotated[str, typer.Option(metavar="NAME", help="Trainer (see `autoseg list trainer`).")]
Loss = Annotated[
    str | None, typer.Option(metavar="NAME", help="Loss (see `autoseg list loss`); chosen by the labels if not given.")
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of every random number.")]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, help="Processes beside the main one; by default by the cores."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped, exactly.")]
Pretrained = Annotated[
    Path | None,
    typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Checkpoint whose matching weights to start from."),
]
