"""What the values in label files mean: told by a dataset.json, or found by looking."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autoseg.data.description import discovered_labels, parse_labels
from autoseg.data.files import read_labels
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError, ConfigurationError
from autoseg.processes import unordered, usable_cores
from autoseg.records import read_mapping

Pair = tuple[Path, Path]

_PATIENCE = 2.0  # seconds of reading in this process before others are started


def read_scheme(path: str | Path) -> LabelScheme:
    """The labels of a dataset.json in the Decathlon's or nnU-Net's form, or of a run's dataset.json or plan.json.

    Raises:
        ConfigurationError, DatasetError: the file cannot be read, or does not name the labels.
    """
    description = read_mapping(path)
    labels = description.get("labels")
    if isinstance(labels, dict) and isinstance(labels.get("names"), dict):  # a record's form
        return LabelScheme.from_mapping(labels, where=f"{path}: labels")
    return parse_labels(description, path)


def discover_scheme(pairs: Mapping[str, Pair], *, workers: int | None = None) -> LabelScheme:
    """Every non-zero value that occurs in any file as a label named by its value.

    Args:
        pairs: case -> prediction and reference. Files that cannot be read are passed over; scoring tells of them.

    Raises:
        ConfigurationError: negative values.
    """
    found: set[int] = {0}
    count = usable_cores() if workers is None else workers
    for values in unordered(_values, pairs.values(), "look for labels", workers=count, patience=_PATIENCE):
        found |= values
    if min(found) < 0:
        raise ConfigurationError(
            "files hold negative label values", got=sorted(found), expected="0 and more", remedy="mend the files"
        )
    return discovered_labels(found)


def _values(pair: Pair) -> set[int]:
    try:
        return {int(value) for path in pair for value in np.unique(read_labels(path).array)}
    except AutosegError:
        return set()
