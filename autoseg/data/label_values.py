"""Which values label files hold, how often and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

RARE = 1e-3
"""Share of all labelled voxels below which a value looks like a mistake rather than like a class."""

_COUNTED = 1 << 16  # up to this value counting is faster than sorting


@dataclass(frozen=True)
class ValueUse:
    """Where one value occurs.

    Attributes:
        voxels: that have it, in all cases.
        share: of the voxels with any value but 0.
        cases: that hold it, sorted.
    """

    voxels: int
    share: float
    cases: tuple[str, ...]


def count_values(labels: np.ndarray) -> dict[int, int]:
    """Value -> voxels, of an integer array; sorted by value."""
    if labels.size and labels.dtype.kind in "iu" and labels.min() >= 0 and labels.max() < _COUNTED:
        counts = np.bincount(labels.ravel())
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, numbers = np.unique(labels, return_counts=True)
    return {int(value): int(number) for value, number in zip(values, numbers, strict=True)}


def uses_of_values(counts: Mapping[str, Mapping[int, int]]) -> dict[int, ValueUse]:
    """What there is of each value but 0, over cases.

    Args:
        counts: case -> value -> voxels.
    """
    voxels: dict[int, int] = {}
    cases: dict[int, list[str]] = {}
    for case in sorted(counts):
        for value, number in counts[case].items():
            if value != 0 and number:
                voxels[value] = voxels.get(value, 0) + number
                cases.setdefault(value, []).append(case)
    labelled = sum(voxels.values())
    return {value: ValueUse(voxels[value], voxels[value] / labelled, tuple(cases[value])) for value in sorted(voxels)}


def stray_values(uses: Mapping[int, ValueUse], cases: int) -> dict[int, ValueUse]:
    """Those that look like mistakes: few voxels, or one case alone of several.

    Args:
        uses: as `uses_of_values` gives them.
        cases: how many there are.
    """
    return {
        value: use for value, use in uses.items() if use.share < RARE or (len(use.cases) == 1 < cases and len(uses) > 1)
    }
