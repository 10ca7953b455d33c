"""NRRD by ITK, whose reader does not look at the checksum of compressed voxels: it is looked at here.

Source: the definition of the format (https://teem.sourceforge.net/nrrd/format.html).
"""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

from autoseg.data import itk
from autoseg.data.axes import in_millimetres
from autoseg.data.image import Image

_DATA_FILE = re.compile(rb"^data ?file: *(?P<name>.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_ENCODING = re.compile(rb"^encoding: *(?P<name>\w+)", re.IGNORECASE | re.MULTILINE)
_SKIP = re.compile(rb"^(byte|line) ?skip: *-?[1-9]", re.IGNORECASE | re.MULTILINE)
_UNITS = re.compile(rb"^(space units|units): *(?P<names>.+)$", re.IGNORECASE | re.MULTILINE)
_RANGE = re.compile(rb"^axis ?mins:", re.IGNORECASE | re.MULTILINE)
_SPACING = re.compile(rb"^(spacings|space directions):", re.IGNORECASE | re.MULTILINE)
_END = re.compile(rb"\r?\n\r?\n")


def read(path: Path) -> Image:
    """Reads a `.nrrd` or `.nhdr`; what is no axis of space becomes channels.

    Raises:
        ImageError: damaged, cut off, or with more axes than space and channels.
    """
    header = check_voxels(path)
    units = _UNITS.search(header)
    named = re.findall(r'"([^"]*)"', units["names"].decode("utf-8", "replace")) if units else []
    if _RANGE.search(header) and not _SPACING.search(header):
        raise itk.unreadable(path, "ranges of its axes, but no spacings")
    return in_millimetres(itk.read(path), named, path)


def check_voxels(path: Path) -> bytes:
    """The header of a file, which is refused if its compressed voxels do not have their checksum.

    Raises:
        ImageError: damaged or cut off.
    """
    content = path.read_bytes()
    if not content.startswith(b"NRRD"):
        raise itk.unreadable(path, "no header of an NRRD")
    end = _END.search(content)
    header = content[: end.end()] if end else content
    encoding = _ENCODING.search(header)
    skips = _SKIP.search(header) is not None  # of what stands before the voxels, which ITK finds
    if encoding is None or encoding["name"].lower() not in (b"gzip", b"gz") or skips:
        return header
    named = _DATA_FILE.search(header)
    voxels = content[len(header) :]
    if named is not None:
        file = path.parent / named["name"].decode("utf-8", "replace")
        if not file.is_file():
            return header  # a list or a pattern of files, or none: ITK says so
        voxels = file.read_bytes()
    try:
        gzip.decompress(voxels)
    except (EOFError, OSError, zlib.error) as error:
        raise itk.unreadable(path, f"damaged voxels ({error})") from None
    return header
