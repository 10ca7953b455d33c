"""What a compressed frame says of itself, compared with its header before a decoder is given it."""

from __future__ import annotations

from autoseg.data.dicom.headers import damaged

_JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 92, 93, 201, 202, 203))
_RLE = "1.2.840.10008.1.2.5"
_RLE_HEADER = 64
_RLE_RATIO = 64  # 2 bytes make at most 128
_END = b"\xff\xd9"
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_SIZE_MARKERS = frozenset({0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # SOF of JPEG and of JPEG-LS


def check_stream(stream: bytes, syntax: str, size: tuple[int, int], where: str) -> None:
    """Refuses a compressed frame that is cut off or of another size than the header says.

    Args:
        stream: one frame's.
        syntax: UID of the transfer syntax.
        size: rows and columns.
        where: for errors.

    Raises:
        ImageError: as said.
    """
    if syntax == _RLE:
        if len(stream) < _RLE_HEADER or (len(stream) - _RLE_HEADER) * _RLE_RATIO < size[0] * size[1]:
            raise damaged(where, f"{len(stream)} bytes of run lengths for {size[0]} x {size[1]} pixels")
        return
    found = _size_2000(stream) if syntax in _JPEG_2000 else _size_jpeg(stream)
    if found is not None and found != size:
        raise damaged(
            where, f"a compressed frame of {found[0]} x {found[1]} where the header says {size[0]} x {size[1]}"
        )
    if found is None or not stream.rstrip(b"\0").endswith(_END):
        raise damaged(where, "a compressed frame is cut off")


def _size_jpeg(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG or JPEG-LS stream; None where no frame header is found (ISO 10918-1, B.2.2)."""
    position = 2
    if stream[:2] != b"\xff\xd8":
        return None
    while position + 9 <= len(stream):
        if stream[position] != 0xFF:
            return None
        marker = stream[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker in _SIZE_MARKERS:
            return int.from_bytes(stream[position + 5 : position + 7]), int.from_bytes(
                stream[position + 7 : position + 9]
            )
        else:
            position += 2 + int.from_bytes(stream[position + 2 : position + 4])
    return None


def _size_2000(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG 2000 code stream; None where it does not begin with its size (ISO 15444-1, A.5.1)."""
    start = 0
    if stream[4:8] == b"jP  ":  # in a JP2 file, against the standard
        start = stream.find(b"\xff\x4f\xff\x51")
    if start < 0 or stream[start : start + 4] != b"\xff\x4f\xff\x51" or len(stream) < start + 24:
        return None
    width, height, left, top = (int.from_bytes(stream[start + at : start + at + 4]) for at in (8, 12, 16, 20))
    return height - top, width - left
