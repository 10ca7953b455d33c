"""What a check reports: problems, and what is known of a case after reading it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from autoseg.data.dataset import Case
from autoseg.data.image import Image, Vector
from autoseg.log import counted
from autoseg.records import Record

Severity = Literal["error", "warning", "note"]

SHOWN = 3
"""Examples that stand for many."""

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_CLAUSES = {"got": "got", "expected": "expected", "remedy": "to do:"}


class Problem(Record):
    """One thing that is wrong or odd.

    Attributes:
        code: stable name of the kind of problem, for programs ("shape-mismatch").
        severity: errors forbid training, warnings do not; notes tell what was done and need nothing.
        what: the problem in one clause.
        file: the file, folder or case it concerns.
        got, expected, remedy: what was found, what is needed, and what to do.
    """

    code: str
    severity: Severity
    what: str
    file: str
    got: str | None = None
    expected: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class CheckedCase:
    """A case as read, with its problems.

    Attributes:
        image: all channels; None if they cannot be read or do not fit together.
        labels: (Z, Y, X) values of the label file; None if unreadable, of another shape, or not given.
        problems: what is wrong with this case by itself.
        digest: hash of the voxels, equal for equal images; None without an image.
        shape, spacing, dimension: of the image; None without one.
        orientation: of the image, as `orientation_code` has it; None for a plane image too.
        values: value -> voxels of the label file.
        patient: PatientID, where the image's files have one.
    """

    case: Case
    image: Image | None
    labels: np.ndarray | None
    problems: tuple[Problem, ...]
    digest: str | None = None
    shape: tuple[int, int, int] | None = None
    spacing: Vector | None = None
    dimension: int | None = None
    orientation: str | None = None
    values: Mapping[int, int] = field(default_factory=dict)
    patient: str | None = None

    @property
    def usable(self) -> bool:
        """Whether there are an image and labels without errors."""
        complete = self.image is not None and (self.labels is not None or self.case.label is None)
        return complete and all(problem.severity != "error" for problem in self.problems)

    def summary(self) -> CheckedCase:
        """The same without arrays, small enough to send between processes."""
        return replace(self, image=None, labels=None)


def format_problem(problem: Problem) -> str:
    """One line: severity, file, what, got, expected, what to do."""
    clauses = [(word, getattr(problem, key)) for key, word in _CLAUSES.items()]
    told = [f"{word} {value}" for word, value in clauses if value is not None]
    return "; ".join([f"{problem.severity}: {problem.file}: {problem.what}", *told])


def format_problems(problems: Sequence[Problem], *, each: bool = False) -> list[str]:
    """Lines for the user: errors first, then warnings, then notes; many of one kind are one line with three examples.

    Args:
        problems: in any order; those of one severity stay in theirs.
        each: a line for every problem.
    """
    ordered = sorted(problems, key=lambda problem: _SEVERITIES.index(problem.severity))
    kinds: dict[tuple[str, str, str], list[Problem]] = {}
    for problem in ordered:
        kinds.setdefault((problem.severity, problem.code, problem.what), []).append(problem)
    lines = []
    for alike in kinds.values():
        if each or len(alike) <= SHOWN:
            lines += [format_problem(problem) for problem in alike]
        else:
            lines.append(_folded(alike))
    return lines


def summary_line(problems: Sequence[Problem]) -> str:
    """How many there are: "2 errors, 3 warnings", and the notes if there are any."""
    numbers = Counter(problem.severity for problem in problems)
    line = f"{counted(numbers['error'], 'error')}, {counted(numbers['warning'], 'warning')}"
    return f"{line}, {counted(numbers['note'], 'note')}" if numbers["note"] else line


def examples(names: Sequence[str], separator: str = ", ") -> str:
    """The first three of several names, and that there are more."""
    return separator.join(names[:SHOWN]) + (f"{separator}..." if len(names) > SHOWN else "")


def _folded(alike: Sequence[Problem]) -> str:
    """One line for many problems of one kind: what all share is said once, what differs three times."""
    files = list(dict.fromkeys(problem.file for problem in alike))
    folder = os.path.commonpath([Path(file).absolute().parent for file in files])
    number = counted(len(files), "file")
    if len(files) < len(alike):
        number = f"{len(alike)} times in {number}"
    first = alike[0]
    shared = {key: getattr(first, key) for key in _CLAUSES if len({getattr(one, key) for one in alike}) == 1}
    told = []
    for problem in alike[:SHOWN]:
        own = [
            f"{_CLAUSES[key]} {getattr(problem, key)}"
            for key in _CLAUSES
            if key not in shared and getattr(problem, key)
        ]
        name = str(Path(problem.file).absolute().relative_to(folder))
        told.append(f"{name} ({', '.join(own)})" if own else name)
    parts = [f"{first.severity}: {folder}: {first.what}; {number}, such as {', '.join(told)}"]
    parts += [f"{_CLAUSES[key]} {value}" for key, value in shared.items() if value is not None]
    return "; ".join(parts)


def shape_text(shape: Sequence[int]) -> str:
    """A spatial shape in words: "4 x 5 x 6 (z, y, x)"."""
    return " x ".join(str(length) for length in shape) + " (z, y, x)"
