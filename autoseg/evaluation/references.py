"""References as predictions are compared with them."""

from __future__ import annotations

from pathlib import Path

from autoseg.data.files import read_raw_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.data.placement import laid_on
from autoseg.data.rounding import whole_labels
from autoseg.data.segments import label_map


def read_reference(path: Path, prediction: Image, labels: LabelScheme | None) -> Image:
    """Reads a reference; one that names its structures is laid on the voxels of the prediction.

    Such a file may be cropped to its structures, or hold contours that are drawn on no voxels at all. A file of values
    stays as it is, for the caller to compare the places.

    Args:
        path: of the reference.
        prediction: as it was read.
        labels: the values of the structures; None for files of values.

    Returns:
        Array (1, Z, Y, X) of file values.

    Raises:
        ImageError: unreadable, no whole numbers, or named structures that have no values or lie elsewhere.
    """
    reference = whole_labels(read_raw_labels(path, prediction), path)
    if reference.segments:
        reference = laid_on(reference, prediction, where=path, crops=True)
    return label_map(reference, labels, path)
