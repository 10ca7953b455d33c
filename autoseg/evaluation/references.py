"""References as predictions are compared with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Reading
from autoseg.data.files import placed, read_raw_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.data.placement import LARGEST_OFFSET, laid_on, turned_to
from autoseg.data.rounding import whole_labels
from autoseg.data.segments import label_map


def read_reference(path: Path, prediction: Image, labels: LabelScheme | None, reading: Reading | None = None) -> Image:
    """Reads a reference; one that names its structures is laid on the voxels of the prediction.

    Such a file may be cropped to its structures, or hold contours that are drawn on no voxels at all. A file of values
    that lies in the same place with other axes is turned to those of the prediction; else it stays as it is, for the
    caller to compare the places.

    Args:
        path: of the reference.
        prediction: as it was read.
        labels: the values of the structures; None for files of values.
        reading: how the file is read where it leaves a choice; arrays that are trusted get the prediction's place.

    Returns:
        Array (1, Z, Y, X) of file values.

    Raises:
        ImageError: unreadable, no whole numbers, or named structures that have no values or lie elsewhere.
    """
    reading = reading or Reading()
    reference = whole_labels(read_raw_labels(path, prediction, reading), path)
    if reference.segments:
        reference = laid_on(reference, prediction, where=path, crops=True)
    elif placed(path):
        turned, beside = turned_to(reference, prediction)
        if turned.shape == prediction.shape and beside <= LARGEST_OFFSET:
            reference = replace(turned, array=np.ascontiguousarray(turned.array))
        elif reading.trust_arrays and reference.shape == prediction.shape:
            reference = replace(reference, geometry=prediction.geometry)
    return label_map(reference, labels, path)
