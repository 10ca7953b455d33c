"""Another tool's predictions, read from a folder, as if they were a baseline's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import known_endings, read_case, read_labels
from autoseg.data.image import Image
from autoseg.data.placement import same_spacing
from autoseg.errors import AutosegError, ConfigurationError, ImageError
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Segmentation


@dataclass(frozen=True)
class FolderOfPredictions:
    """Label files named as the cases."""

    folder: Path
    dataset: Dataset

    def predict(self, case: Case) -> Segmentation:
        """The case's file.

        Raises:
            ImageError: there is none or several, it cannot be read, it does not lie on the image's voxels, or it has
                values that are no labels.
        """
        path = self._file(case)
        return Segmentation(fitting_labels(path, read_case(case, len(self.dataset.channels)), self.dataset))

    def _file(self, case: Case) -> Path:
        endings = dict.fromkeys((self.dataset.label_ending, self.dataset.file_ending))
        paths = [self.folder / f"{case.id}{ending}" for ending in (*endings, *known_endings())]
        existing = [path for path in paths if path.is_file()]
        if not existing:
            raise ImageError(
                "there is no prediction of this case",
                where=self.folder,
                expected=f"{paths[0].name}, or another ending",
                remedy="name the files as the cases, or complete the folder",
            )
        return existing[0]


def folder(context: BaselineContext) -> FolderOfPredictions:
    """Predictions that another tool made, read from a folder.

    They are label files with the data set's own values, named as the cases, with the ending of its labels or, if there
    is none, of its images or another known one.

    Args:
        context: `options["predictions"]` is the folder; nothing is learned from the training cases.

    Raises:
        ConfigurationError: no folder is given, or it does not exist.
    """
    given = context.options.get("predictions")
    if given is None or not Path(given).is_dir():
        raise ConfigurationError(
            "needs the folder of another tool's predictions",
            where="folder",
            got="no folder" if given is None else f"{given}, which is no folder",
            remedy="give one with --predictions NAME=FOLDER",
        )
    return FolderOfPredictions(Path(given), context.dataset)


def fitting_labels(path: Path, image: Image, dataset: Dataset) -> np.ndarray:
    """A predicted label file as training values on an image's voxels.

    Returns:
        (Z, Y, X) int16, 0..K.

    Raises:
        ImageError: unreadable, of another shape or spacing, or with values that are no labels.
    """
    prediction = read_labels(path)
    if prediction.shape != image.shape:
        raise ImageError(
            "prediction and image have different shapes", where=path, got=prediction.shape, expected=image.shape
        )
    # pictures have no spacing, so that a tool which writes them for volumes with one has done nothing wrong
    if prediction.geometry.dimension == image.geometry.dimension == 3 and not same_spacing(
        prediction.geometry, image.geometry
    ):
        raise ImageError(
            "prediction and image have different spacings",
            where=path,
            got=f"{prediction.geometry.spacing} mm",
            expected=f"{image.geometry.spacing} mm",
            remedy="write the predictions with the images' geometry",
        )
    try:
        labels = dataset.labels.encode(prediction.array[0])
    except AutosegError as error:
        raise ImageError(
            "the prediction has values that are no labels", where=path, got=error.got, expected=error.expected
        ) from None
    if dataset.labels.training_ignore is not None and (labels == dataset.labels.training_ignore).any():
        raise ImageError(
            "the prediction has the value of voxels without annotation",
            where=path,
            got=dataset.labels.ignore,
            expected=f"only {list(dataset.labels.values)}",
        )
    return labels
