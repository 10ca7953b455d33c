"""Which methods are compared, from the words of the user."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoseg import plugins
from autoseg.errors import ConfigurationError
from autoseg.records import unknown_name

OWN = "autoseg"
"""The trained model, among the names of methods."""

EVERY = "all"
"""Every baseline that needs no option of its own, among the names of methods."""

NEEDED = {"folder": "--predictions NAME=FOLDER", "nnunetv2": "--peer-python PYTHON"}
"""Baselines that need an option, with it."""

TIMED = (OWN, "plain-unet", "patch-classifier", "nnunetv2")
"""Methods of this project that train for a time; others are told the budget only if they are somebody else's."""

_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


@dataclass(frozen=True)
class ComparedMethod:
    """One of the compared methods.

    Attributes:
        name: in tables, and of its folder.
        plugin: the baseline, or `OWN`.
        options: for the plug-in (`BaselineContext.options`).
        training_cases: learn from so many cases of a fold at most; None from all.
    """

    name: str
    plugin: str
    options: Mapping[str, Any] = field(default_factory=dict)
    training_cases: int | None = None


@dataclass(frozen=True)
class MethodChoice:
    """What the user says about the methods.

    Attributes:
        names: baselines, `OWN` and `EVERY`, joined by commas.
        run: trained run that is taken as `OWN`; None trains one.
        predictions: name -> folder of another tool's predictions.
        peer_python: Python of the environment that has nnU-Net v2.
        budget: seconds for each training; None leaves it to the method.
        device: where networks are trained, "auto", "cpu", "cuda" or "mps".
        training_cases: method -> at most so many training cases, "" for all baselines that are not named.
    """

    names: str
    run: Path | None = None
    predictions: Mapping[str, Path] = field(default_factory=dict)
    peer_python: Path | None = None
    budget: float | None = None
    device: str = "auto"
    training_cases: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ComparisonRequest:
    """What the user asks of a comparison.

    Attributes:
        methods: which methods, and what they need.
        folds: "all", or numbers separated by commas.
        splits: file of the folds; None takes those of the given run, else nnU-Net's.
        seed: of all random numbers.
        workers: processes or threads of a method and of the scoring; None takes one per usable core.
        resume: keep what a method has done on a fold already.
        plugin_files: Python files that register plug-ins, for the processes that the methods run in.
        command: the command line, for the record.
    """

    methods: MethodChoice
    folds: str = "0"
    splits: Path | None = None
    seed: int = 0
    workers: int | None = None
    resume: bool = False
    plugin_files: tuple[Path, ...] = ()
    command: tuple[str, ...] = ()


def choose_methods(chosen: MethodChoice) -> tuple[ComparedMethod, ...]:
    """The methods in the order named; a given run and given predictions take part without being named.

    Raises:
        ConfigurationError: an unknown name, a baseline without the option that it needs, or nothing to compare.
    """
    every = plugins.names("baseline")
    free = [name for name in every if name not in NEEDED]
    asked: list[str] = []
    for name in (part.strip() for part in chosen.names.split(",")):
        asked += free if name == EVERY else [name] if name else []
    names = list(dict.fromkeys([*asked, *([OWN] if chosen.run else [])]))
    for name in names:
        if name not in (OWN, *every):
            raise unknown_name("method", name, [OWN, EVERY, *every])
        if name == "folder" or (name == "nnunetv2" and chosen.peer_python is None):
            raise ConfigurationError(
                f"the method {name!r} needs an option", remedy=f"add {NEEDED[name]}, or leave the method out"
            )
    for name in chosen.predictions:
        _check_name(name, (OWN, EVERY, *every))
    if not names and not chosen.predictions:
        raise ConfigurationError("no method is named", expected="some of " + ", ".join((OWN, EVERY, *every)))
    baselines = [name for name in (*names, *chosen.predictions) if name != OWN]
    for name in chosen.training_cases:
        if name and name not in baselines:
            raise unknown_name("method", name, baselines, where="--training-cases")
    return (
        *(ComparedMethod(name, name, _options(name, chosen), _limit(name, chosen)) for name in names),
        *(
            ComparedMethod(name, "folder", {"predictions": folder.resolve()})
            for name, folder in chosen.predictions.items()
        ),
    )


def _options(name: str, chosen: MethodChoice) -> dict[str, Any]:
    if name == OWN and chosen.run is not None:
        return {"run": chosen.run.resolve(), "device": chosen.device}
    if name not in TIMED and name in plugins.BUILT_IN["baseline"]:
        return {}
    options: dict[str, Any] = {"device": chosen.device}
    if chosen.budget is not None:
        options["seconds"] = chosen.budget
    if name == "nnunetv2":
        options["peer_python"] = chosen.peer_python
    return options


def _limit(name: str, chosen: MethodChoice) -> int | None:
    """The trained model learns from all cases: a limit is for methods whose time grows with them."""
    return None if name == OWN else chosen.training_cases.get(name, chosen.training_cases.get(""))


def _check_name(name: str, taken: Sequence[str]) -> None:
    if name in taken or not _NAME.fullmatch(name):
        raise ConfigurationError(
            "predictions cannot have this name",
            where="--predictions",
            got=name,
            expected="letters, digits, and . _ + - after the first, and no name of a method",
            remedy="choose another name: --predictions NAME=FOLDER",
        )
