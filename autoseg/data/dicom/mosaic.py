"""Siemens mosaics: many slices as the tiles of one large image, explained by a private header that nibabel reads."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

from autoseg.data.dicom.attributes import Attributes
from autoseg.data.dicom.traits import private_tag
from autoseg.errors import ImageError


@dataclass(frozen=True)
class Mosaic:
    """Number of slices, and the direction (x, y, z) in which they follow each other."""

    count: int
    normal: tuple[float, float, float]

    @property
    def side(self) -> int:
        """Tiles along each side of the image."""
        return math.ceil(math.sqrt(self.count))


def read_mosaic(top: Attributes) -> Mosaic | None:
    """What the header says of a mosaic; None for an image that is none.

    Raises:
        ImageError: a mosaic whose private header is missing or damaged.
    """
    if "MOSAIC" not in top.text("ImageType").upper().split("\\"):
        return None
    tag = private_tag(top, 0x0029, "SIEMENS CSA HEADER", 0x10)
    content = None if tag is None else top.value(tag)
    count, normal = _entries(content) if isinstance(content, bytes) else (None, None)
    counted = private_tag(top, 0x0019, "SIEMENS MR HEADER", 0x0A)
    if count is None and counted is not None:
        count = top.whole(counted)
    if not count or count < 1 or normal is None:
        raise ImageError(
            "the image is a Siemens mosaic without the private header that tells its slices",
            where=top.where,
            got=f"{count or 'unknown'} slices, {'known' if normal else 'unknown'} order",
            remedy="export the series anew with private attributes, as single slices, or as enhanced multi-frame",
        )
    return Mosaic(count, normal)


def _entries(content: bytes) -> tuple[int | None, tuple[float, float, float] | None]:
    """NumberOfImagesInMosaic and SliceNormalVector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its readers of whole DICOM files are experimental
        from nibabel.nicom import csareader
    try:
        entries = csareader.read(content)
        count, normal = csareader.get_n_mosaic(entries), csareader.get_slice_normal(entries)
    except Exception:
        return None, None
    if normal is None or not all(math.isfinite(part) for part in normal) or not any(normal):
        return None, None
    x, y, z = (float(part) for part in normal)
    return None if count is None else int(count), (x, y, z)
