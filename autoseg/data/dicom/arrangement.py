"""Whether the DICOM files of a folder are the slices of one image, or images of their own; told by a few headers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from autoseg.data.dicom.attributes import Attributes
from autoseg.data.dicom.frames import PLANAR_MODALITIES
from autoseg.data.dicom.headers import read_summary
from autoseg.data.dicom.storage import Stored, is_dicom_file
from autoseg.errors import ImageError

Arrangement = Literal["none", "slice", "slices", "images"]

_KEYWORDS = ("Modality", "SeriesInstanceUID", "ConcatenationUID", "NumberOfFrames", "Rows", "ImagePositionPatient")
_MOST_HEADERS = 256


def arrangement(folder: Path) -> Arrangement:
    """What the DICOM files directly in a folder are together.

    "slices" of one image, if two files with one frame each belong to one series, or two files to one concatenation, or
    there is a DICOMDIR; a "slice", if there is one image file and it has one frame; "images" of their own, if no two
    files belong together so: files of several frames, one series per file, or planes without a place such as
    radiographs; "none" without DICOM files. Headers are read until it is known, 256 at most.
    """
    seen: set[tuple[str, str]] = set()
    count, alone = 0, False
    for number, file in enumerate(_dicom_files(folder)):
        if file.name.upper() == "DICOMDIR":
            return "slices"
        if number >= _MOST_HEADERS:
            break
        summary = read_summary(Stored(file, file.name), _KEYWORDS)
        try:
            shares = None if summary is None else _shares(summary)
        except ImageError:
            shares = None  # read as an image it is refused
        if shares is None:
            count, alone = count + 1, False
            continue
        whole, key = shares
        if key in seen and not whole:
            return "slices"
        count, alone = count + 1, not whole
        seen.add(key)
    if not count:
        return "none"
    return "slice" if count == 1 and alone else "images"


def _shares(summary: Attributes) -> tuple[bool, tuple[str, str]] | None:
    """Whether a file is an image of its own, and the name of what its frames may share; None for no image."""
    if summary.value("Rows") is None:
        return None
    if concatenation := summary.text("ConcatenationUID"):
        return False, ("concatenation", concatenation)
    plane = summary.text("Modality") in PLANAR_MODALITIES and summary.value("ImagePositionPatient") is None
    several = (summary.whole("NumberOfFrames") or 1) > 1
    return several or plane, ("series", summary.text("SeriesInstanceUID"))


def _dicom_files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.iterdir()) if file.is_file() and is_dicom_file(file))
