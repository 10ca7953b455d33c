"""Whether labels belong to an image, by what both DICOM objects say of their patient and frame of reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autoseg.data.image import Image, Remark
from autoseg.errors import ImageError

_NAMED = {"FrameOfReferenceUID": "frame of reference", "PatientID": "patient"}


def identity_of(dataset: Mapping[str, object] | object) -> dict[str, str]:
    """What a DICOM object says of itself, by keyword; what is empty or not there is left out."""
    values = {key: str(getattr(dataset, key, None) or "").strip() for key in (*_NAMED, "SeriesInstanceUID")}
    return {key: value for key, value in values.items() if value}


def check_belongs(own: Mapping[str, str], image: Image | None, path: Path) -> tuple[Remark, ...]:
    """Refuses labels of another patient or frame of reference than the image's; says so where that is not known.

    Args:
        own: what the labels say, by keyword.
        image: the one that is labelled; None where it is not known, and nothing is compared.
        path: of the labels.

    Raises:
        ImageError: both state one, and they differ.
    """
    if image is None:
        return ()
    for key, noun in _NAMED.items():
        mine, theirs = own.get(key, ""), image.identity.get(key, "")
        if mine and theirs and mine != theirs:
            raise ImageError(
                f"the labels are of another {noun} than the image",
                where=path,
                got=f"{key} {mine}",
                expected=f"{theirs}, as the image has it",
                remedy="give the case the labels that were drawn on it, or register the two first",
            )
    if own.get("FrameOfReferenceUID") and image.identity.get("FrameOfReferenceUID"):
        return ()
    return (
        Remark(
            "frame-of-reference",
            "whether image and labels have one frame of reference is not known, since one of them states none; they "
            "are laid on each other by their places in mm",
            remedy="check that they lie on each other",
        ),
    )
