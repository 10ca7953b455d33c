"""Long work in a folder of its own, that goes on where it stopped only if it is asked for the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from autoseg.errors import WorkspaceError
from autoseg.records import Record

R = TypeVar("R", bound=Record)


def begin(path: Path, wanted: R, *, resume: bool, choices: Callable[[R], R] = lambda record: record) -> R:
    """Writes down what is wanted, or reads what was begun.

    Args:
        path: the record's file in the folder that is worked in.
        wanted: the choices of this call.
        resume: whether a folder in use may be gone on with.
        choices: the part of a record that must agree with what was begun; all of it by default.

    Returns:
        The record as it stands in the file: `wanted` for a new folder.

    Raises:
        WorkspaceError: the folder is in use, or was begun with other choices.
    """
    if not path.exists():
        wanted.save(path)
        return wanted
    if not resume:
        raise WorkspaceError(
            "the folder is in use", where=path.parent, remedy="add --resume to go on with it, or give another --out"
        )
    begun = type(wanted).load(path)
    if choices(begun) != choices(wanted):
        raise WorkspaceError(
            "the folder was begun with other choices",
            where=path.parent,
            got=", ".join(_differing(choices(wanted), choices(begun))),
            remedy="repeat the choices, or give another --out",
        )
    return begun


def _differing(wanted: Record, begun: Record) -> list[str]:
    """The fields that are not the same, as they are and as they were."""
    old, new = begun.model_dump(mode="json"), wanted.model_dump(mode="json")
    return [f"{name} {_short(new[name])} instead of {_short(old[name])}" for name in new if new[name] != old.get(name)]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
