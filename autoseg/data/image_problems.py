"""What is wrong or odd with one image as it was read: what its reader remarks, and intensities that cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from autoseg.data.image import Image, Remark
from autoseg.data.problem import Problem, format_problem
from autoseg.errors import ImageError
from autoseg.log import counted, logger

HARMLESS = frozenset({"labels-rounded", "fractional-segmentation", "repeated-structures"})
"""Codes of remarks that only tell what was done; all others are warnings."""

_SHOWN = 3
"""Times that an oddity of one kind is told in full."""

_LARGEST = float(np.finfo(np.float32).max)


def problems_of_image(image: Image, files: Sequence[Path], channels: Sequence[str]) -> list[Problem]:
    """What is wrong or odd with an image.

    Finds values that are not finite (error) or too large for statistics in single precision (error), channels that are
    constant (warning), and what the reader remarks.

    Args:
        image: of one case, with all channels.
        files: one for each channel, or one that holds all.
        channels: names of the channels; one that has none is named by its number.
    """
    problems = problems_of_remarks(image.remarks, files[0])
    for number, channel in enumerate(image.array):
        file = files[number] if len(files) == len(image.array) else files[0]
        name = channels[number] if number < len(channels) else f"number {number}"
        problems += _intensities(channel, str(file), name)
    return problems


class ImageGate:
    """Lets images through to a computation that can be: errors are raised, oddities told, of each kind a few times."""

    def __init__(self, channels: Sequence[str]) -> None:
        self._channels = tuple(channels)
        self._seen: Counter[str] = Counter()
        self._what: dict[str, str] = {}

    def admit(self, image: Image, files: Sequence[Path]) -> Image:
        """The image, if nothing forbids to use it.

        Raises:
            ImageError: values that are not finite or too large; all such problems are told in its first one's words.
        """
        problems = problems_of_image(image, files, self._channels)
        for problem in problems:
            if problem.severity == "error":
                raise ImageError(
                    problem.what, where=problem.file, got=problem.got, expected=problem.expected, remedy=problem.remedy
                )
        for problem in problems:
            self._seen[problem.code] += 1
            self._what[problem.code] = problem.what
            if self._seen[problem.code] <= _SHOWN:
                logger.warning("%s", format_problem(problem))
        return image

    def conclude(self) -> None:
        """Tells how many more oddities of each kind there were."""
        for code, count in self._seen.items():
            if count > _SHOWN:
                logger.warning("%s: %s", counted(count - _SHOWN, "more image"), self._what[code])
        self._seen.clear()


def problems_of_remarks(remarks: Sequence[Remark], file: Path) -> list[Problem]:
    """What the reader of a file remarks, as problems: notes where it only tells what was done, else warnings."""
    return [
        Problem(
            code=remark.code,
            severity="note" if remark.code in HARMLESS else "warning",
            what=remark.what,
            file=str(file),
            got=remark.got,
            remedy=remark.remedy,
        )
        for remark in remarks
    ]


def _intensities(channel: np.ndarray, file: str, name: str) -> Iterator[Problem]:
    # NaN and infinities show in the extremes, so that sound images need no third pass.
    low, high = (float(channel.min()), float(channel.max())) if channel.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        nan, inf = int(np.isnan(channel).sum()), int(np.isinf(channel).sum())
        yield Problem(
            code="not-finite",
            severity="error",
            what=f"channel {name} holds values that are not finite",
            file=file,
            got=f"{nan} NaN, {inf} infinite voxels",
            expected="finite numbers",
            remedy="replace them, usually by the value of air or by 0",
        )
    elif max(-low, high) > _LARGEST or (high - low) ** 2 * channel.size > _LARGEST:
        yield Problem(
            code="huge-intensities",
            severity="error",
            what=f"channel {name} holds values too large to compute with in single precision",
            file=file,
            got=f"{low:.6g} to {high:.6g}",
            expected=f"values whose squares, summed over the image, are below {_LARGEST:.2g}",
            remedy="divide the intensities by a constant, or check the export: a byte order may be wrong",
        )
    elif low == high:
        yield Problem(
            code="constant-image",
            severity="warning",
            what=f"channel {name} is constant",
            file=file,
            got=f"{channel.flat[0] if channel.size else 0} everywhere",
            expected="an image",
            remedy="check the export, or remove the case",
        )
