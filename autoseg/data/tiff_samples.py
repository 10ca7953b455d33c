"""What the stored samples of a TIFF mean: palettes, white-is-zero, and colour spaces (TIFF 6.0, section 8)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.image import Remark
from autoseg.data.raster import palette_remarks, unreadable
from autoseg.errors import ImageError

if TYPE_CHECKING:
    import tifffile

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _MASK, _CMYK, _YCBCR = range(7)
_JPEG = (6, 7, 33007, 34892)  # which tifffile decodes to RGB
_OTHERS = {
    8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a colour filter array", 32844: "CIE log2(L)",
    32845: "CIE log2(L) (u', v')", 34892: "linear raw",
}  # fmt: skip
_INK_SET_TAG, _INKS_OF_CMYK = 332, 1


def is_sampled_by_page(series: tifffile.TiffPageSeries) -> bool:
    """Whether samples plane by plane are slices: so tifffile, and scikit-image by it, write a small grey volume."""
    return series.kind == "shaped" and series.axes == "SYX" and int(series.keyframe.photometric) != _RGB


def check_samples(page: tifffile.TiffPage, path: Path) -> None:
    """Looks at what samples are before they are decoded.

    Raises:
        ImageError: complex numbers, or a colour space that is not supported.
    """
    if page.dtype is not None and page.dtype.kind == "c":
        raise ImageError(
            "the TIFF holds complex numbers",
            where=path,
            got=page.dtype,
            expected="real numbers",
            remedy="write the magnitude, or real and imaginary part as two channels",
        )
    meaning = _meaning(page)
    inks = page.tags.valueof(_INK_SET_TAG, _INKS_OF_CMYK)
    supported = {
        _YCBCR: int(page.compression) in _JPEG and page.samplesperpixel == 3,
        _CMYK: inks == _INKS_OF_CMYK and page.dtype == np.uint8 and page.samplesperpixel == 4,
    }
    if supported.get(meaning, meaning in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _MASK)):
        return
    inks_there = f"inks (CMYK or others), {page.samplesperpixel} of {page.bitspersample} bits"
    names = {_CMYK: inks_there, _YCBCR: "YCbCr"} | _OTHERS
    raise ImageError(
        "the TIFF has a colour space that is not read",
        where=path,
        got=names.get(meaning, f"photometric interpretation {meaning}"),
        expected="grey, RGB, a palette, CMYK of 8 bits, or YCbCr compressed as JPEG",
        remedy="convert it to RGB or grey",
    )


def meant_values(
    array: np.ndarray, page: tifffile.TiffPage, path: Path, *, labels: bool, display_tables: bool
) -> tuple[np.ndarray, tuple[Remark, ...]]:
    """Samples as they are meant by the page's photometric interpretation, which `check_samples` has seen.

    Args:
        array: (C, Z, Y, X) as tifffile gives it.
        page: whose tags count.
        path: of the file.
        labels: whether these are labels, whose numbers are not colours.
        display_tables: whether palettes are tables that grey images are shown by, as in ImageJ.

    Returns:
        (C, Z, Y, X) of whole or floating-point numbers.

    Raises:
        ImageError: a palette that does not fit, or numbers that have no inverse.
    """
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    meaning = _meaning(page)
    if meaning == _WHITE_IS_ZERO:
        return _white_is_zero(array, page, path, labels=labels)
    if meaning == _PALETTE:
        return _palette(array, page, path, labels=labels, display_tables=display_tables)
    return (_cmyk_to_rgb(array) if meaning == _CMYK else array), ()


def _meaning(page: tifffile.TiffPage) -> int:
    """The photometric interpretation; black is zero where nothing is said."""
    return int(page.photometric) if page.photometric is not None else _BLACK_IS_ZERO


def _white_is_zero(
    array: np.ndarray, page: tifffile.TiffPage, path: Path, *, labels: bool
) -> tuple[np.ndarray, tuple[Remark, ...]]:
    bits = page.bitspersample
    if labels and bits != 1:
        return array, (
            Remark(
                "white-is-zero",
                "the TIFF calls zero white; its numbers were taken for label values as they are stored",
                remedy="look at the label values that are found; write labels with black as zero",
            ),
        )
    if array.dtype.kind not in "iu" or not isinstance(bits, int):
        raise ImageError(
            "the TIFF calls zero white, which has no meaning for its numbers",
            where=path,
            got=array.dtype,
            expected="whole numbers, or black as zero",
            remedy="write it with black as zero (photometric interpretation 1)",
        )
    turned_round = ~array if array.dtype.kind == "i" else array.dtype.type(2**bits - 1) - array
    return turned_round, (
        Remark(
            "white-is-zero",
            "the TIFF calls zero white; its values were inverted",
            remedy="write it with black as zero, if the stored numbers are meant",
        ),
    )


def _palette(
    array: np.ndarray, page: tifffile.TiffPage, path: Path, *, labels: bool, display_tables: bool
) -> tuple[np.ndarray, tuple[Remark, ...]]:
    table = page.colormap
    if labels:
        if table is None or table.ndim != 2 or len(table) != 3:
            return array, ()
        return array, palette_remarks(array, np.asarray(table >> 8, np.uint8).T)
    if display_tables:
        return array, (
            Remark(
                "display-table",
                "the colours that ImageJ shows a grey image in were left out",
                remedy="convert the image to RGB in ImageJ, if the colours are meant",
            ),
        )
    if table is None or table.ndim != 2 or len(table) != 3 or len(array) != 1 or array.dtype.kind != "u":
        raise unreadable(path, "a palette that does not fit the pixels")
    if array.size and array.max() >= table.shape[1]:
        raise unreadable(path, f"index {array.max()} in a palette of {table.shape[1]} colours")
    short = table >> 8  # colours of eight bits are stored times 257, by some times 256
    if np.array_equal(short * 257, table) or np.array_equal(short * 256, table):
        table = short.astype(np.uint8)
    return np.ascontiguousarray(table[:, array[0]]), ()


def _cmyk_to_rgb(array: np.ndarray) -> np.ndarray:
    """As Pillow converts it, slice by slice."""
    from PIL import Image as Picture

    slices = [
        Picture.fromarray(np.ascontiguousarray(np.moveaxis(plane, 0, -1)), "CMYK") for plane in array.swapaxes(0, 1)
    ]
    colours = np.stack([np.asarray(picture.convert("RGB")) for picture in slices])
    return np.ascontiguousarray(np.moveaxis(colours, -1, 0))
