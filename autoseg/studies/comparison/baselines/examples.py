"""Training cases as arrays: an image and its labels in training values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import read_case, read_labels
from autoseg.data.image import Image
from autoseg.errors import ImageError
from autoseg.log import Progress
from autoseg.studies.comparison.baselines.protocol import BaselineContext


@dataclass(frozen=True)
class TrainingExample:
    """A case with a label: `image` (C, Z, Y, X), `labels` int16 (Z, Y, X), 0 background, 1..K, K + 1 ignored."""

    image: Image
    labels: np.ndarray


def read_example(case: Case, dataset: Dataset) -> TrainingExample:
    """Reads a labelled case.

    Raises:
        ImageError: a file cannot be read, there is no label, or its shape is not the image's.
        ConfigurationError: a label value that the data set does not know.
    """
    if case.label is None:
        raise ImageError("the case has no label", where=case.id, remedy="learn from labelled cases only")
    image = read_case(case, len(dataset.channels))
    values = read_labels(case.label).array[0]
    if values.shape != image.shape:
        raise ImageError(
            "image and label have different shapes", where=case.label, got=values.shape, expected=image.shape
        )
    return TrainingExample(image, dataset.labels.encode(values))


def examples(context: BaselineContext) -> Iterator[TrainingExample]:
    """The training cases, one in memory at a time, with a progress bar; the errors of `read_example`."""
    with Progress("training cases", len(context.training)) as bar:
        for case in context.training:
            yield read_example(case, context.dataset)
            bar.advance()
