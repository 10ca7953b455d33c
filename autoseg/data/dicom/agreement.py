"""Whether objects that lie together agree in what they say of their patient and values, and whether all are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from autoseg.data.dicom.frames import DicomFrame
from autoseg.data.dicom.headers import DicomHeader
from autoseg.errors import ImageError
from autoseg.log import counted

_SHARED = {"PatientID": "patients", "Units": "units", "DoseUnits": "units"}


def check_agreement(frames: Sequence[DicomFrame], where: Path) -> None:
    """Refuses frames of one volume that state different patients, units or kinds of values.

    What is not stated is not compared.

    Args:
        frames: of a volume.
        where: the source, for errors.

    Raises:
        ImageError: two frames differ.
    """
    for keyword, noun in _SHARED.items():
        stated = [(frame, frame.header.attributes.text(keyword)) for frame in frames]
        _check_equal(stated, f"the DICOM slices of one volume are of different {noun}", keyword, where)
    types = [(frame, frame.rescale.unit) for frame in frames]
    _check_equal(types, "the DICOM slices of one volume have values of different kinds", "RescaleType", where)
    scaled = [frame for frame in frames if frame.rescale.changes]
    unsaid = [frame for frame in frames if not frame.rescale.stated]
    if scaled and unsaid:
        rescale = scaled[0].rescale
        raise ImageError(
            "some DICOM slices of one volume do not say how their stored values are to be rescaled",
            where=where,
            got=f"none in {unsaid[0].name}, slope {rescale.slope:g} and intercept {rescale.intercept:g} in "
            f"{scaled[0].name}",
            expected="slope and intercept in every slice",
            remedy="export the series anew, or remove what does not belong to it",
        )


def check_concatenations(headers: Iterable[DicomHeader], where: Path) -> None:
    """Refuses parts of an object that is split over several files (a concatenation) where others are missing.

    Source: DICOM PS3.3, C.7.6.16.2.2.4.

    Args:
        headers: of all images of the source.
        where: the source, for errors.

    Raises:
        ImageError: a part is missing.
    """
    parts: dict[str, list[DicomHeader]] = {}
    for header in headers:
        if name := header.attributes.text("ConcatenationUID"):
            parts.setdefault(name, []).append(header)
    for name, group in parts.items():
        numbers = {header.attributes.whole("InConcatenationNumber") or 1 for header in group}
        totals = [header.attributes.whole("InConcatenationTotalNumber") or 0 for header in group]
        total = max(*totals, *numbers)
        missing = sorted(set(range(1, total + 1)) - numbers)
        if missing:
            raise ImageError(
                "parts of a DICOM concatenation are missing",
                where=where,
                got=f"{counted(len(numbers), 'part')} of {total} ({group[0].stored.name}, ConcatenationUID {name})",
                expected=f"also part {', '.join(map(str, missing[:8]))}{', ...' if len(missing) > 8 else ''}",
                remedy="put all files of the concatenation into one folder, and give the folder",
            )


def _check_equal(stated: Sequence[tuple[DicomFrame, str]], subject: str, keyword: str, where: Path) -> None:
    first: dict[str, DicomFrame] = {}
    for frame, text in stated:
        if text:
            first.setdefault(text, frame)
    if len(first) > 1:
        (one, first_frame), (other, other_frame) = list(first.items())[:2]
        raise ImageError(
            subject,
            where=where,
            got=f"{keyword} {one} in {first_frame.name}, {other} in {other_frame.name}",
            expected=f"one {keyword} in all slices",
            remedy="give each its own folder, or remove what does not belong to the volume",
        )
