"""What the values in label files mean: told by a dataset.json, or found by looking."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autoseg.data.annotation_table import FIELD, Annotated, annotated_of_cases, read_annotated
from autoseg.data.dataset import Dataset
from autoseg.data.description import discovered_labels, parse_labels
from autoseg.data.label_values import count_values
from autoseg.data.labels import LabelScheme
from autoseg.errors import ImageError
from autoseg.records import read_mapping


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


def read_looked_for(path: str | Path, labels: LabelScheme) -> Annotated:
    """Which classes were looked for in each case, as a dataset.json (or annotated.csv beside it) or a run's says.

    Args:
        path: the file that names the labels.
        labels: its labels.

    Returns:
        Case -> classes, without the cases in which all were looked for; empty where nothing is said.

    Raises:
        ConfigurationError, DatasetError: the file cannot be read, or the table has errors.
    """
    description = read_mapping(path)
    names = description.get("labels")
    if isinstance(names, dict) and isinstance(names.get("names"), dict):  # a record's form
        return annotated_of_cases(Dataset.load(path).training) if "training" in description else {}
    if Path(path).name != "dataset.json":
        return {}
    return read_annotated(Path(path).parent, description.get(FIELD), labels, None)


def scheme_of_values(*labels: np.ndarray, negative: bool = False) -> LabelScheme:
    """Every non-zero value that occurs in integer arrays as a label named by its value.

    Args:
        labels: the arrays.
        negative: whether values below 0 are labels too.

    Raises:
        ImageError: negative values that are none.
    """
    values = set().union(*(count_values(array) for array in labels))
    if min(values, default=0) < 0 and not negative:
        raise ImageError("negative label values", got=sorted(values), expected="0 and more", remedy="mend the file")
    return discovered_labels(values)
