"""Compressed frames decoded: by plug-ins of pydicom, else by imagecodecs.

The decoders of GDCM are left alone, which fill in what is damaged without a word, or end the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.data.dicom.headers import DicomHeader, damaged, library
from autoseg.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

EXTRA = "autoseg-framework[dicom]"

_SYNTAX = "1.2.840.10008.1.2."
_PLUGINS = {
    _SYNTAX + "5": "pydicom",  # the plug-in in Rust ends the process over damaged run lengths
    _SYNTAX + "4.50": "pillow",
    **dict.fromkeys((_SYNTAX + "4.80", _SYNTAX + "4.81"), "pyjpegls"),
    **dict.fromkeys((_SYNTAX + f"4.{number}" for number in (90, 91, 201, 202, 203)), "pylibjpeg"),
}
_CODECS = {
    **dict.fromkeys((_SYNTAX + "4.51", _SYNTAX + "4.57", _SYNTAX + "4.70"), "jpeg8_decode"),
    **dict.fromkeys((_SYNTAX + "4.80", _SYNTAX + "4.81"), "jpegls_decode"),
    **dict.fromkeys((_SYNTAX + f"4.{number}" for number in (90, 91, 201, 202, 203)), "jpeg2k_decode"),
}
_LOSSLESS_JPEG = (_SYNTAX + "4.57", _SYNTAX + "4.70")
_RESTARTS = b"\xff\xdd\x00\x04"  # the marker that defines their interval


def decompressed(dataset: FileDataset, header: DicomHeader, stream: bytes) -> np.ndarray:
    """The pixels of one compressed frame: (rows, columns), or (rows, columns, 3) for RGB.

    Args:
        dataset: the attributes that describe the pixels.
        header: of the object.
        stream: of the frame, which `check_stream` has accepted.

    Raises:
        ImageError: no decoder is installed, or colours that are not turned to RGB.
        Exception: what decoders raise over damaged streams.
    """
    decoder, plugin = decoder_of(header), _PLUGINS.get(header.transfer_syntax)
    if plugin is not None and plugin in decoder.available_plugins:
        return _by_pydicom(dataset, header, stream, plugin)
    if header.transfer_syntax in _CODECS:
        return _by_imagecodecs(header, stream)
    raise _no_decoder(header)


def decoder_of(header: DicomHeader) -> Any:
    """The decoder of pydicom, which may lack its plug-ins.

    Raises:
        ImageError: pydicom does not know the transfer syntax.
    """
    try:
        return library().pixels.get_decoder(header.transfer_syntax)
    except NotImplementedError:
        raise _no_decoder(header) from None


def as_rgb(array: np.ndarray, found: dict[str, Any], header: DicomHeader) -> np.ndarray:
    """An array whose colours are RGB already.

    Raises:
        ImageError: they are not.
    """
    photometric = str(found.get("photometric_interpretation", ""))
    if array.ndim == 3 and photometric != "RGB":
        raise header.attributes.unreadable("PhotometricInterpretation", f"{photometric}, which is not turned to RGB")
    return array


def stored_bits(array: np.ndarray, stored: int, shift: int = 0) -> np.ndarray:
    """Values of some bits of integers, with their sign where the integers have one.

    Args:
        array: of integers.
        stored: number of the bits.
        shift: of the lowest one.
    """
    spare = array.dtype.itemsize * 8 - shift - stored
    values: np.ndarray = np.right_shift(np.left_shift(array, spare), spare + shift)
    return values


def _by_pydicom(dataset: FileDataset, header: DicomHeader, stream: bytes, plugin: str) -> np.ndarray:
    from pydicom.encaps import encapsulate

    options = {**library().pixels.utils.as_pixel_options(dataset), "number_of_frames": 1, "pixel_keyword": "PixelData"}
    array, found = decoder_of(header).as_array(
        encapsulate([stream]), index=0, raw=False, decoding_plugin=plugin, **options
    )
    return as_rgb(array, found, header)


def _by_imagecodecs(header: DicomHeader, stream: bytes) -> np.ndarray:
    """The pixels of a frame, whose stream says neither sign nor (but for JPEG 2000) what its colours are."""
    import imagecodecs
    from pydicom.pixels.processing import convert_color_space

    top, codec = header.attributes, _CODECS[header.transfer_syntax]
    as_stored = {"colorspace": "RGB", "outcolorspace": "RGB"} if codec == "jpeg8_decode" else {}
    array: np.ndarray = getattr(imagecodecs, codec)(stream, **(as_stored if top.whole("SamplesPerPixel") == 3 else {}))
    if header.transfer_syntax in _LOSSLESS_JPEG:
        _check_lossless(header, stream, array)
    if array.ndim == 3:
        full = top.text("PhotometricInterpretation").startswith("YBR_FULL")
        return convert_color_space(array, "YBR_FULL", "RGB") if full else array
    allocated, stored = top.whole("BitsAllocated") or 16, top.whole("BitsStored") or 16
    return stored_bits(array.astype(f"{'i' if top.whole('PixelRepresentation') else 'u'}{allocated // 8}"), stored)


def _check_lossless(header: DicomHeader, stream: bytes, array: np.ndarray) -> None:
    """Refuses a stream that two decoders understand differently, or with larger values than the header says."""
    import imagecodecs

    # the other decoder shares no code with the first one, but does not know restarts
    unequal = _RESTARTS not in stream and not np.array_equal(imagecodecs.ljpeg_decode(stream), array)
    top = header.attributes
    wide = not top.whole("PixelRepresentation") and int(array.max()) >> (top.whole("BitsStored") or 16)
    if unequal or wide:
        raise damaged(header.stored.where, "the lossless JPEG has other values than it can have")


def _no_decoder(header: DicomHeader) -> ImageError:
    uid = library().uid.UID(header.transfer_syntax)
    return ImageError(
        "the pixels are compressed in a way that no installed library decodes",
        where=header.stored.where,
        got=str(uid.name),
        remedy=f"pip install '{EXTRA}', or decompress the files (dcmdjpeg, gdcmconv --raw)",
    )
