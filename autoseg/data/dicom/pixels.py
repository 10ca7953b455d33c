"""The stored pixels of DICOM objects, decoded by pydicom and its plug-ins, or by imagecodecs.

Decoders trust what a stream says of itself, so that its size, its end and the bytes that are needed are checked before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.data.dicom.attributes import Attributes
from autoseg.data.dicom.decoders import as_rgb, decoder_of, decompressed, stored_bits
from autoseg.data.dicom.frames import DicomFrame
from autoseg.data.dicom.headers import DicomHeader, damaged, library, read_with_pixels
from autoseg.data.dicom.streams import StreamForm, check_stream
from autoseg.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_FLOATS = {"FloatPixelData": "<f4", "DoubleFloatPixelData": "<f8"}
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_GREYS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_SWAPPED = "1.2.840.10008.1.2.2"


def stored_pixels(frames: Sequence[DicomFrame]) -> Iterator[tuple[int, np.ndarray]]:
    """(index in `frames`, pixels) of each frame; every object is opened once, and its frames follow each other.

    Pixels are (rows, columns), or (rows, columns, 3) for RGB, as the bits that are stored: sign-extended, without
    overlays in unused bits, and before rescaling. Palette indices are indices.

    Raises:
        ImageError: cut off, damaged, of a form that is not known, or without a decoder.
    """
    by_object: dict[int, dict[int, list[int]]] = {}
    for index, frame in enumerate(frames):
        by_object.setdefault(id(frame.header), {}).setdefault(frame.number, []).append(index)
    for numbers in by_object.values():
        header = frames[next(iter(numbers.values()))[0]].header
        try:
            for number, pixels in _decoded(header, sorted(numbers)):
                for index in numbers[number]:
                    yield index, _tile(frames[index], pixels)
        except (ImageError, GeneratorExit):
            raise
        except Exception as error:
            raise damaged(header.stored.where, error) from None


def same_pixels(frames: Sequence[DicomFrame]) -> bool:
    """Whether all frames have equal pixels and equal rescaling."""
    first = frames[0]
    if any(frame.rescale != first.rescale for frame in frames[1:]):
        return False
    pixels = [array for _, array in stored_pixels(frames)]
    return all(np.array_equal(array, pixels[0]) for array in pixels[1:])


def _tile(frame: DicomFrame, pixels: np.ndarray) -> np.ndarray:
    if frame.tile is None:
        return pixels
    rows, columns = frame.shape
    return pixels[frame.tile.row : frame.tile.row + rows, frame.tile.column : frame.tile.column + columns]


def _decoded(header: DicomHeader, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """(frame number, pixels) of some frames of an object."""
    dataset = read_with_pixels(header.stored)
    top = header.attributes
    native = _is_native(header)
    for keyword, code in _FLOATS.items():
        if keyword in dataset:
            yield from _floats(dataset[keyword].value, np.dtype(code), header, numbers)
            return
    photometric, samples = top.text("PhotometricInterpretation"), top.whole("SamplesPerPixel") or 1
    if photometric not in (_GREYS if samples == 1 else _COLOURS):
        raise top.unreadable("PhotometricInterpretation", f"{photometric or 'none'} with {samples} samples per pixel")
    allocated, stored, high = _bits(top)
    shift = high + 1 - stored
    if native:
        _check_length(dataset, header, samples, allocated)
        for number in numbers:
            array = _array(dataset, header, index=number, correct_unused_bits=not shift)
            yield number, stored_bits(array, stored, shift) if shift else array
        return
    if shift:
        raise top.unreadable("HighBit", f"{high} with {stored} bits stored in a compressed image")
    streams = _streams(dataset, header)
    for number in numbers:
        yield number, decompressed(dataset, header, streams[number])


def _bits(top: Attributes) -> tuple[int, int, int]:
    """Bits allocated and stored, and the highest one."""
    allocated = top.whole("BitsAllocated") or 0
    stored = top.whole("BitsStored") or allocated
    high = top.whole("HighBit")
    high = stored - 1 if high is None else high
    if allocated not in (1, 8, 16, 32) or not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise top.unreadable("BitsAllocated", f"{allocated} allocated, {stored} stored, highest {high}")
    return allocated, stored, high


def _is_native(header: DicomHeader) -> bool:
    uid = library().uid.UID(header.transfer_syntax)
    if not uid.is_transfer_syntax or uid.is_private:
        raise header.attributes.unreadable("TransferSyntaxUID", uid)
    return not uid.is_encapsulated


def _check_length(dataset: FileDataset, header: DicomHeader, samples: int, allocated: int) -> None:
    """Whether all bytes of all frames are there, before any memory is asked for."""
    rows, columns = _size(header)
    per_pixel = 2 if header.attributes.text("PhotometricInterpretation") == "YBR_FULL_422" else samples
    expected = math.ceil(rows * columns * per_pixel * allocated * header.frame_count / 8)
    if len(dataset.PixelData) < expected:
        raise damaged(header.stored.where, f"{len(dataset.PixelData)} bytes of pixels where the header says {expected}")


def _size(header: DicomHeader) -> tuple[int, int]:
    return header.attributes.whole("Rows") or 0, header.attributes.whole("Columns") or 0


def _array(dataset: FileDataset, header: DicomHeader, *, index: int, **options: Any) -> np.ndarray:
    array, found = decoder_of(header).as_array(
        dataset, index=index, raw=False, **{**library().pixels.utils.as_pixel_options(dataset), **options}
    )
    return as_rgb(array, found, header)


def _floats(
    content: bytes, dtype: np.dtype, header: DicomHeader, numbers: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """(frame number, pixels) of pixels that are stored as floating-point numbers."""
    rows, columns = _size(header)
    count = rows * columns
    if len(content) < count * header.frame_count * dtype.itemsize:
        raise damaged(header.stored.where, f"{len(content)} bytes of pixels for {header.frame_count} frames")
    stored = dtype.newbyteorder(">") if header.transfer_syntax == _SWAPPED else dtype
    for number in numbers:
        array = np.frombuffer(content, stored, count, number * count * dtype.itemsize)
        yield number, array.astype(dtype.newbyteorder("=")).reshape(rows, columns)


def _streams(dataset: FileDataset, header: DicomHeader) -> list[bytes]:
    """The compressed stream of each frame, whose size has been checked."""
    from pydicom.encaps import generate_frames

    decoder_of(header)
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    frames = generate_frames(dataset.PixelData, number_of_frames=header.frame_count, extended_offsets=offsets)
    streams = list(frames)
    if len(streams) != header.frame_count:
        raise damaged(
            header.stored.where, f"{len(streams)} compressed frames where the header says {header.frame_count}"
        )
    top = header.attributes
    form = StreamForm(*_size(header), top.whole("SamplesPerPixel") or 1, top.whole("BitsAllocated") or 0)
    for stream in streams:
        check_stream(stream, header.transfer_syntax, form, header.stored.where)
    return streams
