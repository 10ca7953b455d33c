"""PNG, JPEG and BMP by Pillow: pictures without a place in the patient's world."""

from __future__ import annotations

import io
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.image import Geometry, Image, Remark
from autoseg.data.raster import (
    LOSSY_LABELS,
    PICTURE_ENDINGS,
    UPRIGHT,
    check_size,
    palette_remarks,
    turned,
    turned_remark,
    unreadable,
    without_alpha,
)
from autoseg.errors import ImageError

# Pillow is imported where a picture is touched: most data sets hold none.
if TYPE_CHECKING:
    from PIL import Image as Picture

_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB")
_LOSSY = ("JPEG", "MPO")
_ORIENTATION_TAG = 0x0112
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type, of PNG (third edition), table 8
_PNG_COLOURED = (2, 3, 6)
_PNG_TEXT = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_LOSSLESS_JPEG = 3
_UNCOMMON_JPEG = (3, 5, 6, 7, 11, 13, 14, 15)  # processes of ITU-T T.81, table B.1
_ONE_BY_ONE = threading.Lock()


def read_picture(path: Path) -> Image:
    """Reads a PNG, JPEG or BMP: grey (one channel) or RGB (three, also where all are equal); spacing 1.

    Values are those that are stored: gamma and colour profiles (gAMA, iCCP) are left out, and so is the one colour that
    a PNG may call transparent (tRNS). Grey of two and four bits is spread over eight, as PNG says; black and white are
    0 and 1. CMYK becomes RGB. Opacity that says nothing is dropped (`raster.without_alpha`). Pixels stand upright as
    EXIF says. JPEG keeps no checksum: bytes that changed inside of it show as other pixels.

    Raises:
        ImageError: damaged, truncated, animated, or of another format than its name says.
    """
    return _read(path, labels=False)


def read_picture_labels(path: Path) -> Image:
    """Like `read_picture`, for labels: the indices of a palette, not its colours.

    Raises:
        ImageError: as `read_picture`, or labels that differ in their opacity alone.
    """
    return _read(path, labels=True)


def is_coloured(path: Path) -> bool:
    """Whether a PNG, JPEG or BMP is stored with colours (RGB or a palette), by its header; False if unreadable."""
    from PIL import Image as Picture

    try:
        with path.open("rb") as stream:
            start = stream.read(26)
            if start.startswith(_PNG_SIGNATURE):
                return start[25] in _PNG_COLOURED
            stream.seek(0)
            with _said(), Picture.open(stream) as picture:
                return picture.mode not in ("1", "L", "LA", "I", "F") and not picture.mode.startswith("I;")
    except Exception:  # whatever a damaged file makes of Pillow; who reads it will say so
        return False


def write_picture(path: Path, array: np.ndarray) -> None:
    """Writes (Y, X) or (Y, X, 3) values of type uint8, or (Y, X) uint16 as PNG."""
    from PIL import Image as Picture

    Picture.fromarray(array).save(path)


def _read(path: Path, *, labels: bool) -> Image:
    from PIL import Image as Picture

    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, str(error)) from None
    try:
        chunks = _png_chunks(content, path) if content.startswith(_PNG_SIGNATURE) else {}
        with _said() as said:
            picture = Picture.open(io.BytesIO(content))
        remarks = _oddities(picture, path, chunks, labels=labels, lossless=_jpeg_frame(content)[0] == _LOSSLESS_JPEG)
        orientation = UPRIGHT
        if picture.format != "PNG" or any(name in chunks for name in _PNG_TEXT):
            with _said(said):
                orientation = _orientation(picture, said)
        check_size(path, picture.width * picture.height * len(picture.getbands()), len(content))
        array = _pixels(picture, content, chunks, labels=labels)
    except ImageError:
        raise
    except Picture.DecompressionBombError as error:
        raise ImageError(
            "the picture has more pixels than Pillow reads",
            where=path,
            got=str(error).partition(",")[0],
            remedy="cut it into parts or write it as TIFF, if its size is true at all",
        ) from None
    except Exception as error:  # Pillow lets struct, zlib, index and its own errors through
        raise unreadable(path, _reason(error, content)) from None
    if labels and picture.mode in ("P", "PA"):
        remarks += palette_remarks(array, np.asarray(picture.getpalette("RGB"), np.uint8).reshape(-1, 3))
    array = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    array = array[:, None]
    if len(array) in (2, 4):
        array, opacity = without_alpha(array, len(array) - 1, path, labels=labels)
        remarks += opacity
    if said:
        remarks += (
            Remark(
                "picture-metadata",
                "metadata of the picture are damaged; it is taken to stand upright",
                got=said[0],
                remedy="look whether image and labels lie on each other",
            ),
        )
    if orientation != UPRIGHT:
        remarks += (turned_remark(orientation),)
    return Image(turned(array, orientation), Geometry.plane(), remarks)


def _oddities(
    picture: Picture.Image, path: Path, chunks: dict[bytes, bytes], *, labels: bool, lossless: bool
) -> tuple[Remark, ...]:
    """Remarks by the header.

    Raises:
        ImageError: another format than those of `PICTURE_ENDINGS`, or an animation.
    """
    if picture.format not in _FORMATS:
        raise ImageError(
            "the file is not what its name says",
            where=path,
            got=picture.format,
            expected=f"a picture of {', '.join(PICTURE_ENDINGS)}",
            remedy="write it anew as PNG or TIFF",
        )
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":
        raise ImageError(
            "the picture holds several frames",
            where=path,
            got=f"{frames} frames",
            expected="one picture",
            remedy="write each frame as a file of its own, or all as a TIFF volume",
        )
    remarks: tuple[Remark, ...] = ()
    if frames > 1:
        remarks += (
            Remark(
                "several-photos",
                "the JPEG holds several photos, of which the first was taken",
                got=f"{frames} photos",
                remedy="write the photo that is meant as a file of its own",
            ),
        )
    if labels and picture.format in _LOSSY and not lossless:
        remarks += (LOSSY_LABELS,)
    depth, colours = (chunks[b"IHDR"][8], chunks[b"IHDR"][9]) if chunks else (8, 2)
    if labels and colours == 0 and depth in (2, 4):
        remarks += (
            Remark(
                "few-bits",
                "label values of few bits were spread over eight, as PNG says of grey",
                got=f"{depth} bits: 1 becomes {255 // (2**depth - 1)}",
                remedy="name the spread values in dataset.json",
            ),
        )
    return remarks


def _pixels(picture: Picture.Image, content: bytes, chunks: dict[bytes, bytes], *, labels: bool) -> np.ndarray:
    """(Y, X) or (Y, X, C), where two and four channels have opacity last."""
    if chunks and chunks[b"IHDR"][8] == 16:
        import imagecodecs  # Pillow drops the lower eight bits of colours

        channels = _PNG_CHANNELS[chunks[b"IHDR"][9]]
        array = imagecodecs.png_decode(content)
        return array if array.ndim == 2 else array[..., 0] if channels == 1 else array[..., :channels]
    picture.load()
    if picture.mode == "1":
        return np.asarray(picture).astype(np.uint8)
    if picture.mode in ("P", "PA"):
        if labels:
            indices = np.asarray(picture)
            return indices if indices.ndim == 2 else indices[..., 0]
        picture = picture.convert("RGBA" if picture.mode == "PA" or "transparency" in picture.info else "RGB")
    elif picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        picture = picture.convert("RGB")
    return np.asarray(picture)


def _orientation(picture: Picture.Image, said: list[str]) -> int:
    try:
        orientation = picture.getexif().get(_ORIENTATION_TAG, UPRIGHT)
    except Exception as error:  # EXIF is a small TIFF of its own, with as many ways to be damaged
        said.append(f"{type(error).__name__}: {error}")
        return UPRIGHT
    if isinstance(orientation, int) and 1 <= orientation <= 8:
        return orientation
    if orientation != 0:  # what some cameras write where they do not know
        said.append(f"orientation {orientation!r}"[:80])
    return UPRIGHT


def _png_chunks(content: bytes, path: Path) -> dict[bytes, bytes]:
    """The chunks of a PNG by their names, the first of each; Pillow does not look at the checksums of pixels.

    Raises:
        ImageError: a chunk is cut off or damaged, or there is no header.
    """
    chunks: dict[bytes, bytes] = {}
    position, name = len(_PNG_SIGNATURE), b""
    while name != b"IEND":
        length = int.from_bytes(content[position : position + 4], "big")
        name = content[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(content):
            raise unreadable(path, "the PNG is cut off")
        if zlib.crc32(memoryview(content)[position + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            raise unreadable(path, f"a checksum of the PNG does not fit (chunk {name.decode('latin-1')!r})")
        chunks.setdefault(name, content[position + 8 : end])
        position = end + 4
    if len(chunks.get(b"IHDR", b"")) != 13:
        raise unreadable(path, "the PNG has no header")
    return chunks


def _reason(error: Exception, content: bytes) -> str:
    """Why Pillow gave up, with what is known of a JPEG of a kind that it does not read."""
    if content.startswith(b"\xff\xd8"):
        process, precision = _jpeg_frame(content)
        if precision not in (0, 8):
            return f"a JPEG of {precision} bits, which is not read; write it as PNG or TIFF"
        if process in _UNCOMMON_JPEG:
            return "a lossless or hierarchical JPEG, which is not read; write it as PNG or TIFF"
    text = " ".join(str(error).split())
    return text if "BytesIO" not in text else "no picture that is known"


def _jpeg_frame(content: bytes) -> tuple[int, int]:
    """Process (n of the marker SOFn) and bits per sample of a JPEG; zeros if there is no frame (ITU-T T.81, B.2)."""
    position = 2
    while position + 5 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker - 0xC0, content[position + 4]
        position += 1 if marker == 0xFF else 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return 0, 0


@contextmanager
def _said(said: list[str] | None = None) -> Iterator[list[str]]:
    """What Pillow warns of within the context, rather than on the terminal; threads wait for each other.

    That a picture is large is no reason to warn: `check_size` decides.
    """
    from PIL import Image as Picture

    said = [] if said is None else said
    with _ONE_BY_ONE, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
    said += [str(item.message) for item in caught if item.category is not Picture.DecompressionBombWarning]
