"""The headers of DICOM objects, read by pydicom without their pixels."""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from autoseg.data.dicom.attributes import Attributes
from autoseg.data.dicom.storage import MARK_END, Stored, looks_like_dicom
from autoseg.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PIXEL_TAGS = {bytes.fromhex(tag) for tag in ("e07f1000", "e07f0800", "e07f0900", "7fe00010", "7fe00008", "7fe00009")}
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_WITHOUT_IMAGES = (
    *(_STORAGE + end for end in ("88.", "11.", "66", "67", "68.", "9.", "104.", "4.2", "77.1.5.3", "200.", "481.3")),
    *(_STORAGE + f"481.{number}" for number in (4, 5, 6, 7, 8, 9, 10, 11, 12, 13)),
    "1.2.840.10008.1.3.10",
    "1.2.840.10008.5.1.4.3",  # hanging protocols and the like
    "1.3.12.2.1107.5.9.1",  # Siemens: raw data and protocols
)
"""Beginnings of SOP classes without images: reports, presentation states, structure sets, segmentations, ..."""

_MODALITIES_WITHOUT_IMAGES = frozenset(
    ("SR", "PR", "KO", "RTSTRUCT", "RTPLAN", "RTRECORD", "SEG", "REG", "FID", "DOC", "PLAN", "SMR", "ECG", "HD", "M3D")
)
_PIXEL_MODULE = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", *_PIXEL_KEYWORDS,
)  # fmt: skip
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META_LENGTH_END = 144
_MOST_INFLATED = 4 << 30


@dataclass(frozen=True)
class DicomHeader:
    """What stands in a DICOM object before its pixels.

    Attributes:
        stored: where it lies.
        dataset: pydicom's, without pixels.
        has_pixels: whether pixels follow.
    """

    stored: Stored
    dataset: FileDataset
    has_pixels: bool

    @cached_property
    def attributes(self) -> Attributes:
        """The attributes at the top of the object."""
        return Attributes((self.dataset,), self.stored.where)

    @property
    def transfer_syntax(self) -> str:
        """UID of how the pixels are encoded; implicit little endian where a file has no meta information."""
        meta = Attributes((self.dataset.file_meta,), self.stored.where)
        if syntax := meta.text("TransferSyntaxUID"):
            return syntax
        implicit, little = self.dataset.original_encoding
        return "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"

    @property
    def is_compressed(self) -> bool:
        """Whether frames, or the whole object, are compressed."""
        return self.transfer_syntax not in _UNCOMPRESSED

    @cached_property
    def series(self) -> tuple[str, ...]:
        """What objects of one volume share: study, series, frame of reference, modality."""
        keywords = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality")
        return tuple(self.attributes.text(keyword) for keyword in keywords)

    @cached_property
    def frame_count(self) -> int:
        """Number of frames; 1 where it is not said."""
        return max(self.attributes.whole("NumberOfFrames") or 1, 1)

    @property
    def object_name(self) -> str:
        """What the object is: "RT Structure Set Storage", or its modality."""
        from pydicom.uid import UID

        uid = UID(self.attributes.text("SOPClassUID"))
        return str(uid.name) if uid and uid.name != str(uid) else self.attributes.text("Modality") or "unknown"

    @property
    def is_image(self) -> bool:
        """Whether it is an image, and not a report, structure set, segmentation or the like.

        Raises:
            ImageError: what should be an image has no size or no pixels.
        """
        attributes = self.attributes
        if attributes.text("SOPClassUID").startswith(_WITHOUT_IMAGES):
            return False
        sized = attributes.value("Rows") is not None and attributes.value("Columns") is not None
        if not sized and attributes.text("Modality") in _MODALITIES_WITHOUT_IMAGES:
            return False
        if not sized or not self.has_pixels:
            raise ImageError(
                "the DICOM file has no pixels (cut off, or no image)",
                where=self.stored.where,
                got=self.object_name,
                remedy="fetch the file again or remove it",
            )
        return True


@cache
def library() -> Any:
    """pydicom, imported when the first DICOM file is touched."""
    import pydicom
    import pydicom.pixels

    # What matters of its warnings (missing bytes, frames, odd values) is checked here and raised or remarked.
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
    for name in ("pydicom", "openjpeg"):  # what they log is raised too; without a handler it would be printed
        logging.getLogger(name).addHandler(logging.NullHandler())
    return pydicom


def read_header(stored: Stored) -> DicomHeader:
    """The header of a DICOM object; its pixels are not read.

    Raises:
        ImageError: not DICOM, or damaged.
    """
    with stored.open() as stream:
        dataset = _parse(stored, stream, pixels=_is_deflated(stored, stream))
        has_pixels = any(keyword in dataset for keyword in _PIXEL_KEYWORDS) or stream.read(4) in _PIXEL_TAGS
    for keyword in _PIXEL_KEYWORDS:
        if keyword in dataset:
            del dataset[keyword]
    return DicomHeader(stored, dataset, has_pixels)


def read_with_pixels(stored: Stored) -> FileDataset:
    """A DICOM object's pixels as they are stored, with the attributes that describe them.

    Raises:
        ImageError: not DICOM, or damaged.
    """
    with stored.open() as stream:
        _is_deflated(stored, stream)
        return _parse(stored, stream, pixels=True, keywords=_PIXEL_MODULE)


def read_summary(stored: Stored, keywords: tuple[str, ...]) -> Attributes | None:
    """A few attributes of a DICOM object's header, cheaply; None where it is no DICOM.

    Args:
        stored: where it lies.
        keywords: of attributes before the pixels.
    """
    try:
        with stored.open() as stream:
            return Attributes((_parse(stored, stream, pixels=False, keywords=keywords),), stored.where)
    except (ImageError, OSError):
        return None


def directory_entries(directory: Path) -> Iterator[tuple[str, ...]]:
    """The parts of the path of each file that a DICOMDIR lists, relative to its folder.

    Raises:
        ImageError: damaged.
    """
    stored = Stored(directory, directory.name)
    attributes = read_header(stored).attributes
    for record in attributes.sequence("DirectoryRecordSequence"):
        if name := record.text("ReferencedFileID"):
            yield tuple(name.split("\\"))


def _parse(stored: Stored, stream: BinaryIO, *, pixels: bool, keywords: tuple[str, ...] | None = None) -> FileDataset:
    head = stream.read(MARK_END)
    stream.seek(0)
    if not looks_like_dicom(head):
        raise damaged(stored.where, "the file is empty" if not head else "no mark of DICOM at byte 128")
    try:
        dataset: FileDataset = library().dcmread(
            stream,
            stop_before_pixels=not pixels,
            force=True,
            specific_tags=None if keywords is None else list(keywords),
        )
    except Exception as error:
        raise damaged(stored.where, error) from None
    return dataset


def _is_deflated(stored: Stored, stream: BinaryIO) -> bool:
    """Whether the object is deflated, and then within what memory holds; the stream is at its start afterwards."""
    head = stream.read(1024)
    deflated = _DEFLATED in head
    if deflated:
        start = _META_LENGTH_END + int.from_bytes(head[_META_LENGTH_END - 4 : _META_LENGTH_END], "little")
        stream.seek(start)
        inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        try:
            while block := inflater.unconsumed_tail or stream.read(1 << 16):
                size += len(inflater.decompress(block, 1 << 22))
                if size > _MOST_INFLATED:
                    raise damaged(stored.where, f"it inflates to more than {_MOST_INFLATED >> 30} GB")
        except zlib.error as error:
            raise damaged(stored.where, error) from None
    stream.seek(0)
    return deflated


def damaged(where: str, error: object) -> ImageError:
    """The error for bytes that are no sound DICOM."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ImageError(
        "the image cannot be read (damaged, truncated or not an image)",
        where=where,
        got=reason,
        remedy="fetch the file again or remove it",
    )
