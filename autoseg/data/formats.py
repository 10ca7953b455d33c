"""Which files are images: plug-ins of kind "image format", found by the ending of a file's name.

Libraries that read images are imported when the first image is read.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from autoseg import plugins
from autoseg.data import itk, metaimage, nifti, nrrd, pictures, raster, slicer, tiff
from autoseg.data.dataset import Reading
from autoseg.data.dicom import headers, storage
from autoseg.data.dicom.label_objects import label_object, read_label_object
from autoseg.data.dicom.reader import read_dicom
from autoseg.data.gzipped import content
from autoseg.data.image import Image
from autoseg.errors import ImageError, PluginError

Read = Callable[[Path], Image]
"""Path -> array (C, Z, Y, X) in the file's dtype with its geometry; raises `ImageError` for a file that is damaged."""

ReadLabels = Callable[[Path, Image | None], Image]
"""(path, image) -> array (L, Z, Y, X) of label values with its own geometry. The image is the one that is labelled, for
files that say where structures lie but not on which voxels; None where it is not known. A file that names its
structures gives `Image.segments`; others have one channel whose values are all that is known."""

Write = Callable[[Path, Image], None]
"""(path, image) -> None. The folder is there; files beside that belong to the image may be written too."""


@dataclass(frozen=True)
class ImageFormat:
    """A form in which images are stored.

    Attributes:
        description: what it is, in one line.
        endings: of the files' names, in lower case with the dot; none for images that are folders.
        read: of one file.
        write: None for a format that is read only. Raises `ImageError` for an image that the format cannot hold.
        read_labels: of a file of labels, where they are stored otherwise than intensities; None as `read`.
        prepare: imports the library that reads, so that processes forked after it need not, each on its own.
        geometry: what it holds of where voxels lie: "place" (spacing, origin and directions), "spacing", or "nothing".
        lossless: values come back as they were written; labels are written in no other format.
        pictures: grey and RGB stand for each other, where all channels of a plane are equal.
        labels_only: files that hold labels alone, and are passed over where images are looked for.
    """

    description: str
    endings: tuple[str, ...]
    read: Read
    write: Write | None = None
    read_labels: ReadLabels | None = None
    prepare: Callable[[], object] | None = None
    geometry: Literal["place", "spacing", "nothing"] = "place"
    lossless: bool = True
    pictures: bool = False
    labels_only: bool = False


def image_formats() -> Mapping[str, ImageFormat]:
    """Ending -> format: those of this project first, in the order of the table.

    Raises:
        PluginError: a plug-in that is no `ImageFormat`, or an ending that two formats have.
    """
    return _by_ending(plugins.registered("image format"))


def format_of(ending: str) -> ImageFormat | None:
    """The format of files with an ending; None for one that is not known, and for a folder, which has none."""
    return image_formats().get(ending)


@lru_cache(maxsize=4)
def _by_ending(registered: tuple[tuple[str, Any], ...]) -> Mapping[str, ImageFormat]:
    """The table as it is while these plug-ins are registered; installed ones are looked for once."""
    found: dict[str, ImageFormat] = {}
    for name in plugins.addresses("image format"):
        form = plugins.resolve("image format", name)
        if not isinstance(form, ImageFormat):
            raise PluginError(
                f"the image format {name!r} cannot be used",
                got=type(form).__name__,
                expected="an ImageFormat of autoseg.data.formats",
            )
        for ending in form.endings:
            if ending in found or ending != ending.lower() or not ending.startswith("."):
                raise PluginError(
                    f"the image format {name!r} cannot have this ending",
                    got=ending,
                    expected="one in lower case, with the dot, that no other format has",
                )
            found[ending] = form
    return MappingProxyType(found)


def _read_dicom(path: Path) -> Image:
    return read_dicom(path, Reading())


def _read_dicom_labels(path: Path, image: Image | None) -> Image:
    """A segmentation or structure set, else the values of an image as labels."""
    stored = label_object(path)
    return _read_dicom(path) if stored is None else read_label_object(stored, image)


def _read_segmentation_labels(path: Path, image: Image | None) -> Image:
    return slicer.read_segmentation(path)


def _read_picture_labels(path: Path, image: Image | None) -> Image:
    return pictures.read_picture_labels(path)


def _read_tiff_labels(path: Path, image: Image | None) -> Image:
    return tiff.read_tiff_labels(path)


def _read_gipl(path: Path) -> Image:
    return itk.read_gipl(path, len(content(path)))


def _write_tiff(path: Path, image: Image) -> None:
    tiff.write_tiff(path, image.array, image.geometry)


def _write_picture(path: Path, image: Image) -> None:
    """Writes one slice of 1 or 3 channels of uint8; PNG also 1 of uint16."""
    array, ending = image.array, path.suffix.lower()
    fits = image.shape[0] == 1 and len(array) in (1, 3)
    wide = array.dtype == np.uint16 or array.dtype == np.int16
    if wide and array.size and array.min() >= 0 and len(array) == 1 and ending == ".png":
        array = array.astype(np.uint16)
    elif array.dtype != np.uint8:
        fits = False
    if not fits:
        raise ImageError(
            f"{ending} cannot hold this image",
            where=path,
            got=f"shape (C, Z, Y, X) {array.shape} of {array.dtype}",
            expected="one slice, 1 or 3 channels of uint8 (PNG: also 1 of uint16)",
            remedy="use .nii.gz or .tif",
        )
    pictures.write_picture(path, array[0, 0] if len(array) == 1 else np.moveaxis(array[:, 0], 0, -1))


NIFTI = ImageFormat(
    description="NIfTI, version 1 and 2",
    endings=(".nii.gz", ".nii"),
    read=nifti.read,
    write=nifti.write,
    prepare=partial(importlib.import_module, "imagecodecs"),
)

NIFTI_PAIR = ImageFormat(
    description="NIfTI with its header (.hdr) and its voxels (.img) in two files",
    endings=(".hdr",),
    read=nifti.read,
    write=nifti.write,
    prepare=partial(importlib.import_module, "imagecodecs"),
)

NRRD = ImageFormat(
    description="NRRD, by ITK",
    endings=(".nrrd", ".nhdr"),
    read=nrrd.read,
    write=itk.write,
    prepare=itk.library,
)

METAIMAGE = ImageFormat(
    description="MetaImage, in one file or two",
    endings=(".mha", ".mhd"),
    read=metaimage.read,
    write=itk.write,
    prepare=itk.library,
)

GIPL = ImageFormat(
    description="GIPL, by ITK, which leaves out how the axes lie",
    endings=(".gipl.gz", ".gipl"),
    read=_read_gipl,
    write=itk.write,
    prepare=itk.library,
    geometry="spacing",
)

TIFF = ImageFormat(
    description="TIFF planes and volumes, with the spacing of OME, ImageJ or a side-car",
    endings=raster.TIFF_ENDINGS,
    read=tiff.read_tiff,
    write=_write_tiff,
    read_labels=_read_tiff_labels,
    prepare=partial(importlib.import_module, "tifffile"),
    geometry="spacing",
    pictures=True,
)

PICTURE = ImageFormat(
    description="PNG and BMP pictures, grey or in colours",
    endings=(".png", ".bmp"),
    read=pictures.read_picture,
    write=_write_picture,
    read_labels=_read_picture_labels,
    prepare=partial(importlib.import_module, "PIL.Image"),
    geometry="nothing",
    pictures=True,
)

JPEG = ImageFormat(
    description="JPEG pictures, grey or in colours, which are changed a little when they are written",
    endings=(".jpg", ".jpeg"),
    read=pictures.read_picture,
    write=_write_picture,
    read_labels=_read_picture_labels,
    prepare=partial(importlib.import_module, "PIL.Image"),
    geometry="nothing",
    lossless=False,
    pictures=True,
)

SEGMENTATION = ImageFormat(
    description="3D Slicer's segmentations: labels with the names of their segments",
    endings=(".seg.nrrd",),
    read=itk.read,
    read_labels=_read_segmentation_labels,
    prepare=itk.library,
    labels_only=True,
)

DICOM = ImageFormat(
    description="DICOM: slices of a folder or a zip, files of frames; as labels segmentations and structure sets too",
    endings=(*storage.ENDINGS, storage.ARCHIVE_ENDING),
    read=_read_dicom,
    read_labels=_read_dicom_labels,
    prepare=headers.library,
)
