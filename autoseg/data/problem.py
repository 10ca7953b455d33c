"""What a check reports: problems, and what is known of a case after reading it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from autoseg.data.dataset import Case
from autoseg.data.image import Image, Vector
from autoseg.records import Record

Severity = Literal["error", "warning", "note"]


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
    """

    case: Case
    image: Image | None
    labels: np.ndarray | None
    problems: tuple[Problem, ...]
    digest: str | None = None
    shape: tuple[int, int, int] | None = None
    spacing: Vector | None = None
    dimension: int | None = None

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
    parts = [f"{problem.severity}: {problem.file}: {problem.what}"]
    if problem.got is not None:
        parts.append(f"got {problem.got}")
    if problem.expected is not None:
        parts.append(f"expected {problem.expected}")
    if problem.remedy is not None:
        parts.append(f"to do: {problem.remedy}")
    return "; ".join(parts)


def shape_text(shape: Sequence[int]) -> str:
    """A spatial shape in words: "4 x 5 x 6 (z, y, x)"."""
    return " x ".join(str(length) for length in shape) + " (z, y, x)"
