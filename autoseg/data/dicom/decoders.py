"""Compressed frames decoded: by the plug-ins of pydicom, and by ITK where plug-ins are missing."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.data import itk
from autoseg.data.dicom.headers import DicomHeader, damaged, library
from autoseg.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

EXTRA = "autoseg-framework[dicom]"

_SYNTAX = "1.2.840.10008.1.2."
_ITK = "itk"
_ANY = ""
_ORDER = {
    _SYNTAX + "5": ("pydicom", _ITK),  # the other decoder of run lengths ends the process over damaged ones
    _SYNTAX + "4.50": ("pillow",),  # always there, so that values do not depend on what is installed
    _SYNTAX + "4.90": ("pylibjpeg", _ITK, _ANY),
    _SYNTAX + "4.91": ("pylibjpeg", _ITK, _ANY),
}
_USUAL = (_ANY, _ITK)
_RESTARTS = b"\xff\xdd\x00\x04"  # the marker that defines their interval
_LOSSLESS_JPEG = (_SYNTAX + "4.57", _SYNTAX + "4.70")


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
    decoder = decoder_of(header)
    for name in _ORDER.get(header.transfer_syntax, _USUAL):
        if name == _ITK:
            array = _by_itk(dataset, header, stream)
        elif decoder.is_available and (name == _ANY or name in decoder.available_plugins):
            array = _by_pydicom(dataset, header, stream, name)
        else:
            array = None
        if array is not None:
            _check_lossless(header, stream, array)
            return array
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


def _by_pydicom(dataset: FileDataset, header: DicomHeader, stream: bytes, plugin: str) -> np.ndarray:
    from pydicom.encaps import encapsulate

    options = {**library().pixels.utils.as_pixel_options(dataset), "number_of_frames": 1, "pixel_keyword": "PixelData"}
    array, found = decoder_of(header).as_array(
        encapsulate([stream]), index=0, raw=False, decoding_plugin=plugin, **options
    )
    return as_rgb(array, found, header)


def _check_lossless(header: DicomHeader, stream: bytes, array: np.ndarray) -> None:
    """Refuses a stream that two decoders understand differently: they fill in what is damaged without a word."""
    if header.transfer_syntax not in _LOSSLESS_JPEG or array.ndim != 2:
        return
    import imagecodecs

    # the second shares no code with the others, but does not know restarts
    other = imagecodecs.jpeg8_decode(stream) if _RESTARTS in stream else imagecodecs.ljpeg_decode(stream)
    values, others = array.astype(np.int64), other.astype(np.int64)
    if array.dtype.kind == "i":  # streams have no sign; values of less bits than the stream's may be extended or not
        mask = (1 << (header.attributes.whole("BitsStored") or 16)) - 1
        values, others = values & mask, others & mask
    if not np.array_equal(values, others):
        raise damaged(header.stored.where, "two decoders read different values from the lossless JPEG")


def _by_itk(dataset: FileDataset, header: DicomHeader, stream: bytes) -> np.ndarray | None:
    """The pixels of a grey frame by ITK's decoders, from an object that holds nothing else; None if it has none."""
    from pydicom.encaps import encapsulate

    top = header.attributes
    if (top.whole("SamplesPerPixel") or 1) != 1:
        return None  # it turns colours on its own
    try:
        array = itk.decode_dicom(_bare(dataset, header.transfer_syntax, encapsulate([stream])))
    except RuntimeError:
        return None
    signed = bool(top.whole("PixelRepresentation"))
    return array.astype(np.dtype(f"{'i' if signed else 'u'}{(top.whole('BitsAllocated') or 16) // 8}"))


def _bare(dataset: FileDataset, syntax: str, pixels: bytes) -> bytes:
    """A DICOM file with one frame's pixels and what is needed to decode them: without rescaling, palette and place."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, SecondaryCaptureImageStorage, generate_uid

    bare, meta = Dataset(), FileMetaDataset()
    meta.MediaStorageSOPClassUID = bare.SOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = UID(syntax)
    bare.file_meta, bare.Modality = meta, "OT"
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        setattr(bare, keyword, dataset[keyword].value)
    bare.SamplesPerPixel, bare.PhotometricInterpretation = 1, "MONOCHROME2"
    bare.PixelData = pixels
    bare["PixelData"].VR = "OB"
    stream = io.BytesIO()
    bare.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _no_decoder(header: DicomHeader) -> ImageError:
    uid = library().uid.UID(header.transfer_syntax)
    return ImageError(
        "the pixels are compressed in a way that no installed library decodes",
        where=header.stored.where,
        got=str(uid.name),
        remedy=f"pip install '{EXTRA}', or decompress the files (dcmdjpeg, gdcmconv --raw)",
    )
