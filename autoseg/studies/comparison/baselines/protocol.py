"""What a baseline is: fit on the training cases of a fold, then predict one case at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.labels import LabelScheme
from autoseg.errors import PluginError


@dataclass(frozen=True)
class BaselineContext:
    """What a method may learn from, and where it works.

    Attributes:
        dataset: the whole data set, for its channels and endings; only `training` may be learned from.
        labels: meaning of the label values; regions, if any, are unions of them.
        training: cases of the fold's training part, at least one, perhaps fewer than there are (a slow method).
        seed: of everything random; equal contexts give equal predictions.
        folder: an existing folder for what the method keeps while it works.
        workers: processes or threads that may be used, at least 1.
        options: what single methods need, such as another tool's Python or predictions; others ignore it.
    """

    dataset: Dataset
    labels: LabelScheme
    training: tuple[Case, ...]
    seed: int
    folder: Path
    workers: int = 1
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Segmentation:
    """What a method predicts for a case.

    Attributes:
        labels: integers (Z, Y, X), training values 0 background, 1..K foreground, on the voxels of the case's image.
        disagreement: float32 (Z, Y, X), 0 sure to 1, where the method knows how unsure it is; else None.
    """

    labels: np.ndarray
    disagreement: np.ndarray | None = None


class Fitted(Protocol):
    """A method that has learned. It may not change by predicting: the order of the cases has no influence.

    It may have a `note`, one line that says what it chose from the training cases; reports show it.
    """

    def predict(self, case: Case) -> Segmentation:
        """Predicts a case from its images; the label file, if it has one, is not opened.

        Raises:
            AutosegError: the images cannot be read or used.
        """
        ...


class Baseline(Protocol):
    """What a plug-in of kind "baseline" is; the first line of its docstring describes it in lists."""

    def __call__(self, context: BaselineContext, /) -> Fitted: ...


def check_segmentation(
    segmentation: Segmentation, shape: tuple[int, int, int], labels: LabelScheme, *, where: object
) -> None:
    """Refuses what does not keep the contract of `Segmentation`.

    Args:
        shape: (Z, Y, X) of the case's image.
        where: the method and case, for the message.

    Raises:
        PluginError: another shape or kind of number, or values that are no training values.
    """
    array = segmentation.labels
    if array.dtype.kind not in "iu" or array.shape != shape:
        raise PluginError(
            "the predicted labels do not fit the image",
            where=where,
            got=f"shape {array.shape} of {array.dtype}",
            expected=f"shape (Z, Y, X) {shape} of an integer type",
        )
    largest = len(labels.values) - 1
    if array.size and (array.min() < 0 or array.max() > largest):
        raise PluginError(
            "the prediction has values that are no labels",
            where=where,
            got=f"{array.min()} to {array.max()}",
            expected=f"training values 0 to {largest}",
        )
    disagreement = segmentation.disagreement
    if disagreement is not None and (disagreement.dtype != np.float32 or disagreement.shape != shape):
        raise PluginError(
            "the disagreement map does not fit the image",
            where=where,
            got=f"shape {disagreement.shape} of {disagreement.dtype}",
            expected=f"shape (Z, Y, X) {shape} of float32",
        )
