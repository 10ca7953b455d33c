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
class Method:
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
class Wishes:
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


def choose_methods(wishes: Wishes) -> tuple[Method, ...]:
    """The methods in the order named; a given run and given predictions take part without being named.

    Raises:
        ConfigurationError: an unknown name, a baseline without the option that it needs, or nothing to compare.
    """
    known = plugins.names("baseline")
    free = [name for name in known if name not in NEEDED]
    asked: list[str] = []
    for name in (part.strip() for part in wishes.names.split(",")):
        asked += free if name == EVERY else [name] if name else []
    names = list(dict.fromkeys([*asked, *([OWN] if wishes.run else [])]))
    for name in names:
        if name not in (OWN, *known):
            raise unknown_name("method", name, [OWN, EVERY, *known])
        if name == "folder" or (name == "nnunetv2" and wishes.peer_python is None):
            raise ConfigurationError(
                f"the method {name!r} needs an option", remedy=f"add {NEEDED[name]}, or leave the method out"
            )
    for name in wishes.predictions:
        _check_name(name, (OWN, EVERY, *known))
    if not names and not wishes.predictions:
        raise ConfigurationError("no method is named", expected="some of " + ", ".join((OWN, EVERY, *known)))
    baselines = [name for name in (*names, *wishes.predictions) if name != OWN]
    for name in wishes.training_cases:
        if name and name not in baselines:
            raise unknown_name("method", name, baselines, where="--training-cases")
    return (
        *(Method(name, name, _options(name, wishes), _limit(name, wishes)) for name in names),
        *(Method(name, "folder", {"predictions": folder.resolve()}) for name, folder in wishes.predictions.items()),
    )


def _options(name: str, wishes: Wishes) -> dict[str, Any]:
    if name == OWN and wishes.run is not None:
        return {"run": wishes.run.resolve(), "device": wishes.device}
    if name not in TIMED and name in plugins.BUILT_IN["baseline"]:
        return {}
    found: dict[str, Any] = {"device": wishes.device}
    if wishes.budget is not None:
        found["seconds"] = wishes.budget
    if name == "nnunetv2":
        found["peer_python"] = wishes.peer_python
    return found


def _limit(name: str, wishes: Wishes) -> int | None:
    """The trained model learns from all cases: a limit is for methods whose time grows with them."""
    return None if name == OWN else wishes.training_cases.get(name, wishes.training_cases.get(""))


def _check_name(name: str, taken: Sequence[str]) -> None:
    if name in taken or not _NAME.fullmatch(name):
        raise ConfigurationError(
            "predictions cannot have this name",
            where="--predictions",
            got=name,
            expected="letters, digits, and . _ + - after the first, and no name of a method",
            remedy="choose another name: --predictions NAME=FOLDER",
        )
