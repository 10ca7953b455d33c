"""What a compressed frame says of itself, compared with its header before a decoder is given it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from autoseg.data.dicom.headers import damaged

_JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 92, 93, 201, 202, 203))
_RLE = "1.2.840.10008.1.2.5"
_RLE_HEADER = 64
_RLE_RATIO = 64  # 2 bytes make at most 128
_END = b"\xff\xd9"
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_SIZE_MARKERS = frozenset({0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # SOF of JPEG and of JPEG-LS


@dataclass(frozen=True)
class StreamForm:
    """Rows, columns and components of a compressed frame, and the most bits of one of them."""

    rows: int
    columns: int
    components: int
    bits: int


def check_stream(stream: bytes, syntax: str, form: StreamForm, where: str) -> None:
    """Refuses a compressed frame that is cut off or of another form than the header says.

    Decoders write as many values as the stream has into memory of the size that the header says.

    Args:
        stream: one frame's.
        syntax: UID of the transfer syntax.
        form: rows, columns, samples and bits allocated of the header.
        where: for errors.

    Raises:
        ImageError: as said.
    """
    if syntax == _RLE:
        if len(stream) < _RLE_HEADER or (len(stream) - _RLE_HEADER) * _RLE_RATIO < form.rows * form.columns:
            raise damaged(where, f"{len(stream)} bytes of run lengths for {form.rows} x {form.columns} pixels")
        return
    found = _form_2000(stream) if syntax in _JPEG_2000 else _form_jpeg(stream)
    if found is None or not stream.rstrip(b"\0").endswith(_END):
        raise damaged(where, "a compressed frame is cut off")
    same = (found.rows, found.columns, found.components) == (form.rows, form.columns, form.components)
    if not same or found.bits > form.bits:
        raise damaged(where, f"a compressed frame of {_text(found)} where the header says {_text(form)}")


def _text(form: StreamForm) -> str:
    return f"{form.rows} x {form.columns} x {form.components} of {form.bits} bits"


def _form_jpeg(stream: bytes) -> StreamForm | None:
    """The form of a JPEG or JPEG-LS stream; None where no frame header is found (ISO 10918-1, B.2.2)."""
    position = 2
    if stream[:2] != b"\xff\xd8":
        return None
    while position + 10 <= len(stream):
        if stream[position] != 0xFF:
            return None
        marker = stream[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker in _SIZE_MARKERS:
            bits, rows, columns, components = struct.unpack(">BHHB", stream[position + 4 : position + 10])
            return StreamForm(rows, columns, components, bits)
        else:
            position += 2 + int.from_bytes(stream[position + 2 : position + 4])
    return None


def _form_2000(stream: bytes) -> StreamForm | None:
    """The form of a JPEG 2000 code stream; None where it does not begin with its size (ISO 15444-1, A.5.1)."""
    start = 0
    if stream[4:8] == b"jP  ":  # in a JP2 file, against the standard
        start = stream.find(b"\xff\x4f\xff\x51")
    if start < 0 or stream[start : start + 4] != b"\xff\x4f\xff\x51" or len(stream) < start + 43:
        return None
    width, height, left, top = struct.unpack(">4I", stream[start + 8 : start + 24])
    (components,) = struct.unpack(">H", stream[start + 40 : start + 42])
    depths = stream[start + 42 : start + 42 + 3 * components : 3]
    if len(depths) < components or not components:
        return None
    return StreamForm(height - top, width - left, components, max((depth & 0x7F) + 1 for depth in depths))
