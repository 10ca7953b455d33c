"""Label values that are taken for others before they are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autoseg.records import Record


class ValueMap(Record):
    """What label values are taken for: value in the files -> value; others stay.

    Attributes:
        references, predictions: of the files of either side.
    """

    references: dict[int, int] = {}
    predictions: dict[int, int] = {}


def mapped_values(labels: np.ndarray, table: Mapping[int, int]) -> np.ndarray:
    """Integer labels with some values taken for others, all at once, so that two may change places."""
    if not table:
        return labels
    result = labels.astype(np.int64)
    for value, taken_for in table.items():
        result[labels == value] = taken_for
    return result


def only_values(labels: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """Integer labels with background (0) in place of all other values."""
    return np.where(np.isin(labels, kept), labels, 0)
