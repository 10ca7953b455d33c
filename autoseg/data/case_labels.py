"""The labels of a case, in the data set's values, on the voxels of its image."""

from __future__ import annotations

from pathlib import Path

from autoseg.data.dataset import Case
from autoseg.data.files import placed, read_raw_labels
from autoseg.data.image import Image
from autoseg.data.labels import LabelScheme
from autoseg.data.placement import laid_by_index, laid_on
from autoseg.data.rounding import whole_labels
from autoseg.data.segments import label_map
from autoseg.errors import ImageError


def read_case_labels(case: Case, image: Image, scheme: LabelScheme | None = None) -> Image:
    """Reads a case's label file.

    Args:
        case: with a label.
        image: the case's image, as it was read; only its geometry and shape count.
        scheme: the values of the data set's labels; None takes those of the file.

    Returns:
        Array (1, Z, Y, X) of integers, file values of the scheme, on the image's voxels.

    Raises:
        ImageError: no label, unreadable, no whole numbers, at another place than the image, or structures with names
            for which the scheme has no values.
    """
    if case.label is None:
        raise ImageError("the case has no label", where=case.id, remedy="add the label, or leave the case out")
    labels = lay_labels(read_raw_labels(case.label, image, case.reading), case.label, image, case)
    return label_map(whole_labels(labels, case.label), scheme, case.label)


def lay_labels(labels: Image, path: Path, image: Image, case: Case) -> Image:
    """Labels as they were read, on the voxels of a case's image.

    Args:
        labels: (L, Z, Y, X) with their own geometry.
        path: their file.
        image: of the case.
        case: says where its image lies, and what is done where headers disagree.

    Raises:
        ImageError: another shape or another place than the image.
    """
    if not (placed(path) and placed(case.images[0])):
        return laid_by_index(labels, image, where=path)
    return laid_on(labels, image, where=path, trust=case.reading.trust_arrays, crops=bool(labels.segments))
