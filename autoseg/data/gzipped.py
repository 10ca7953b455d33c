"""The bytes of files that may be compressed by gzip."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

from autoseg.data.itk.conversion import unreadable

_LARGEST_RATIO = 1032
"""Bytes that deflate can make of one (RFC 1951: a match of 258 bytes in 2 bits)."""

_LEVEL = 6


def content(path: Path) -> bytes:
    """The bytes of a file, decompressed if its name ends in `.gz`.

    Raises:
        ImageError: empty, cut off, or damaged (gzip's checksum does not fit).
    """
    return _checked(path, _stored(path))


def first_content(path: Path) -> bytes:
    """Like `content`, in a third of its time, but perhaps of the first member of a gzip file alone.

    Who knows how many bytes there must be asks `content` where there are less.
    """
    import imagecodecs

    stored = _stored(path)
    if not _is_gzip(path) or int.from_bytes(stored[-4:], "little") > _LARGEST_RATIO * len(stored):
        return _checked(path, stored)
    try:
        decompressed: Any = imagecodecs.gzip_decode(stored)
    except (imagecodecs.DeflateError, SystemError, MemoryError, ValueError):
        return _checked(path, stored)  # which says what is wrong
    return decompressed or _checked(path, stored)


def compressed(content: bytes) -> bytes:
    """A gzip file of the bytes, the same for the same bytes at any time."""
    import imagecodecs

    packed: Any = imagecodecs.gzip_encode(content, level=_LEVEL)
    return packed


def _stored(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, str(error)) from None


def _is_gzip(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _checked(path: Path, stored: bytes) -> bytes:
    try:
        raw = gzip.decompress(stored) if _is_gzip(path) else stored
    except (EOFError, OSError, zlib.error) as error:
        raise unreadable(path, f"the file is cut off or damaged ({error})") from None
    if not raw:
        raise unreadable(path, "the file is empty")
    return raw
