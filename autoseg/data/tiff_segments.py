"""Whether the strips and tiles of a TIFF are there, and hold what its header promises, before they are decoded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.data.image import Remark
from autoseg.data.raster import check_size, unreadable
from autoseg.errors import ImageError

if TYPE_CHECKING:
    import tifffile

_RATIO = {1: 1.0, 5: 4096.0, 8: 1100.0, 32773: 128.0, 32946: 1100.0}
"""Bytes that come out of one stored byte at most: nothing done, LZW (codes of 12 bits), deflate, PackBits."""
_SMALL = 2**26  # bytes; below, how much comes out of how little is no matter
_DECODED_TOGETHER = 2**28  # bytes of one tile, unless the image itself is of that size


def check_segments(series: tifffile.TiffPageSeries, path: Path, size: int) -> tuple[Remark, ...]:
    """Looks for strips and tiles that are missing, cut off, or too many for the bytes that are there.

    Args:
        series: the pages of an image.
        path: of the file.
        size: of the file, in bytes.

    Returns:
        A remark if some are left out on purpose, as sparse files do: they are filled with one value.

    Raises:
        ImageError: damaged, truncated, or larger than memory.
    """
    page = series.keyframe
    if series.dtype is None or page.dtype is None:
        raise ImageError(
            "the TIFF has numbers of a type that is not read",
            where=path,
            got=f"{page.bitspersample} bits, sample format {page.sampleformat}",
            remedy="write it anew with whole or floating-point numbers of 8, 16, 32 or 64 bits",
        )
    needed = math.prod(series.shape) * page.dtype.itemsize
    if series.dataoffset is not None:
        check_size(path, math.prod(series.shape) * _bits(page) // 8, max(size - series.dataoffset, 0), 1.0)
        check_size(path, needed, size)
        return ()
    stored = missing = 0
    for one in series.pages:
        if one is None:
            raise unreadable(path, "a page is missing")
        bytes_there, empty = _check_page(one, page, path, size)
        stored, missing = stored + bytes_there, missing + empty
    ratio = _RATIO.get(int(page.compression))
    widened = page.dtype.itemsize * 8 / _bits(page)
    small = needed < _SMALL or missing
    check_size(path, needed, stored, None if small or ratio is None else ratio * widened)
    if page.is_tiled:
        tile = page.tilewidth * page.tilelength * page.tiledepth * page.samplesperpixel * page.dtype.itemsize
        if tile > max(_DECODED_TOGETHER, 4 * needed):
            raise unreadable(path, f"tiles of {page.tilewidth} x {page.tilelength} pixels in a smaller image")
    if not missing:
        return ()
    return (
        Remark(
            "empty-tiles",
            "parts of the TIFF are not stored and were filled with one value",
            got=f"{missing} strips or tiles, filled with {page.nodata}",
            remedy="fetch the file again if it should be whole",
        ),
    )


def _check_page(
    one: tifffile.TiffPage | tifffile.TiffFrame, keyframe: tifffile.TiffPage, path: Path, size: int
) -> tuple[int, int]:
    """Stored bytes, and how many strips or tiles are left out."""
    offsets, counts = one.dataoffsets, one.databytecounts
    if not offsets:
        raise unreadable(path, "a page without pixels")
    if keyframe.is_contiguous:
        expected = math.prod(keyframe.shaped) * _bits(keyframe) // 8
        if offsets[0] <= 0 or offsets[0] + expected > size:
            raise unreadable(path, f"{size} bytes where the header promises {offsets[0] + expected}")
        return expected, 0
    segments = math.prod(keyframe.chunked)
    if min(len(offsets), len(counts)) < segments:
        raise unreadable(path, f"{min(len(offsets), len(counts))} strips or tiles where {segments} are needed")
    pairs = list(zip(offsets[:segments], counts[:segments], strict=True))
    end = max(offset + count for offset, count in pairs)
    if min(min(pair) for pair in pairs) < 0 or end > size:
        raise unreadable(path, f"{size} bytes where the header promises {end}")
    return sum(count for _, count in pairs), sum(1 for offset, count in pairs if not offset or not count)


def _bits(page: tifffile.TiffPage) -> int:
    """Bits per sample as stored."""
    bits = page.bitspersample
    return sum(bits) // len(bits) if isinstance(bits, tuple) else int(bits)
