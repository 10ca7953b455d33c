"""Training cases as arrays: an image and its labels in training values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autoseg.data.case_labels import read_case_labels
from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import read_case
from autoseg.data.image import Image
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
        ImageError: a file cannot be read, there is no label, or its shape or place is not the image's.
        ConfigurationError: a label value that the data set does not know.
    """
    image = read_case(case, len(dataset.channels))
    return TrainingExample(image, dataset.labels.encode(read_case_labels(case, image, dataset.labels).array[0]))


def examples(context: BaselineContext) -> Iterator[TrainingExample]:
    """The training cases, one in memory at a time, with a progress bar; the errors of `read_example`."""
    with Progress("training cases", len(context.training)) as bar:
        for case in context.training:
            yield read_example(case, context.dataset)
            bar.advance()
