"""DICOM objects that hold labels: segmentations and structure sets, told from images by their SOP class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from autoseg.data.dicom.headers import DicomHeader, damaged, read_header, read_summary
from autoseg.data.dicom.segmentation import read_segmentation
from autoseg.data.dicom.sources import stored_objects
from autoseg.data.dicom.storage import Stored
from autoseg.data.dicom.structures import read_structures
from autoseg.data.image import Image
from autoseg.errors import ImageError

_READERS: Mapping[str, Callable[[DicomHeader, Image | None], Image]] = {
    "1.2.840.10008.5.1.4.1.1.66.4": read_segmentation,  # Segmentation Storage
    "1.2.840.10008.5.1.4.1.1.66.7": read_segmentation,  # Label Map Segmentation Storage
    "1.2.840.10008.5.1.4.1.1.481.3": read_structures,  # RT Structure Set Storage
}
_SURFACES = "1.2.840.10008.5.1.4.1.1.66.5"


def label_object(path: Path) -> Stored | None:
    """The object that holds a segmentation or a structure set: this file, or the only one of a folder or zip.

    None where there is none: the labels are then an image, if anything.

    Raises:
        ImageError: several of them, or a segmentation by surfaces.
    """
    classes = [(stored, _sop_class(stored)) for stored in stored_objects(path)]
    if any(kind == _SURFACES for _, kind in classes):
        raise ImageError(
            "the labels are surfaces",
            where=path,
            expected="a DICOM segmentation of voxels, or a structure set",
            remedy="convert them to voxels",
        )
    found = [stored for stored, kind in classes if kind in _READERS]
    if len(found) > 1:
        raise ImageError(
            "there are several segmentations or structure sets",
            where=path,
            got=", ".join(stored.name for stored in found[:5]) + (", ..." if len(found) > 5 else ""),
            expected="one for each case",
            remedy="keep the one that is meant, or merge them",
        )
    return found[0] if found else None


def read_label_object(stored: Stored, image: Image | None) -> Image:
    """Reads a DICOM segmentation or structure set (`segmentation`, `structures`).

    Args:
        stored: where it lies.
        image: the one that is labelled, if it is known.

    Raises:
        ImageError: damaged, or as these say.
    """
    header = read_header(stored)
    try:
        return _READERS[header.attributes.text("SOPClassUID")](header, image)
    except ImageError:
        raise
    except Exception as error:  # pydicom converts values when they are asked for, and damage may raise anything there
        raise damaged(stored.where, error) from None


def _sop_class(stored: Stored) -> str | None:
    """What an object is, by its header alone; None for one that cannot be read, which the reader of images tells."""
    summary = read_summary(stored, ("SOPClassUID",))
    return None if summary is None else summary.text("SOPClassUID")
