"""What pictures and TIFF share: endings, which way up pixels lie, opacity, and sizes that cannot be true."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autoseg.allocation import machine_memory
from autoseg.data.image import Remark
from autoseg.errors import ImageError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
TIFF_ENDINGS = (".ome.tif", ".ome.tiff", ".tif", ".tiff")

UPRIGHT = 1
"""The orientation (TIFF 6.0 tag 274, the same in EXIF) of rows from top to bottom and columns from left to right."""

ALPHA_CHANNEL = "alpha-channel"
"""Code of the remark on an image whose opacity counts as a channel."""

LOSSY_LABELS = Remark(
    "lossy-labels",
    "the labels are stored by a compression that changes values",
    remedy="look at the label values that are found; write labels as PNG or TIFF without loss",
)


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as they are to be seen.

    Source: TIFF 6.0, section 8, Orientation; EXIF 2.32, 4.6.4, says the same.

    Args:
        array: (..., Y, X) as stored.
        orientation: 1 to 8.

    Returns:
        (..., Y, X), or (..., X, Y) for orientations from 5 on, where stored rows are columns.
    """
    if orientation >= 5:
        array = array.swapaxes(-1, -2)
    if orientation in (3, 4, 7, 8):
        array = array[..., ::-1, :]
    if orientation in (2, 3, 6, 7):
        array = array[..., ::-1]
    return np.ascontiguousarray(array)


def turned_remark(orientation: int) -> Remark:
    """The remark on a picture that was not stored upright."""
    return Remark(
        "stored-turned",
        "the pixels are stored turned or mirrored and were set upright, as the file's orientation tag says",
        got=f"orientation {orientation}",
        remedy="if image and label then do not lie on each other, remove the tag or turn the other one",
    )


def palette_remarks(indices: np.ndarray, palette: np.ndarray) -> tuple[Remark, ...]:
    """The remark on labels that are indices of a palette, unless its colours are grey of the same value.

    Args:
        indices: of any shape.
        palette: (N, 3) colours of eight bits.
    """
    present = [int(index) for index in np.unique(indices) if index < len(palette)]
    if all((palette[index] == index).all() for index in present):
        return ()
    shown = ", ".join("{} #{:02x}{:02x}{:02x}".format(index, *palette[index]) for index in present[:8])
    return (
        Remark(
            "palette-indices",
            "the labels have a palette, whose indices were taken for label values",
            got=shown + (", ..." if len(present) > 8 else ""),
            remedy="if the same colour has another index in other files, give the colours values by --label-colours",
        ),
    )


def without_alpha(
    array: np.ndarray, channel: int, path: Path, *, labels: bool
) -> tuple[np.ndarray, tuple[Remark, ...]]:
    """Samples without opacity (alpha), where it says nothing.

    It says nothing if it has one value, or, in labels, if all pixels of a colour have the same. Of an image whose
    opacity differs it stays as a channel, with a remark.

    Args:
        array: (C, Z, Y, X) with opacity among the channels.
        channel: which one is opacity.
        path: of the file.
        labels: whether these are labels.

    Raises:
        ImageError: labels that differ in their opacity alone.
    """
    alpha, others = array[channel], np.delete(array, channel, axis=0)
    if not alpha.size or alpha.min() == alpha.max():
        return others, ()
    got = f"alpha from {alpha.min()} to {alpha.max()}"
    if not labels:
        return array, (
            Remark(
                ALPHA_CHANNEL,
                "the opacity (alpha) differs from pixel to pixel and counts as a channel",
                got=got,
                remedy="lay the picture on a background and write it without alpha",
            ),
        )
    if len(_distinct(array)) > len(_distinct(others)):
        raise ImageError(
            "pixels of the label picture differ in their opacity (alpha) alone",
            where=path,
            got=got,
            expected="labels that show in the colours",
            remedy="write the labels as one grey channel without alpha",
        )
    return others, (
        Remark(
            "alpha-of-labels",
            "the opacity (alpha) of the labels follows from their colours and was left out",
            got=got,
            remedy="write the labels as one grey channel without alpha",
        ),
    )


def check_size(path: Path, needed: int, stored: int, ratio: float | None = None) -> None:
    """Looks at what a header promises before memory is taken for it.

    Args:
        path: of the file.
        needed: bytes that the pixels take in memory.
        stored: bytes that are there for them.
        ratio: how many bytes a stored byte can become at most; None if there is no limit.

    Raises:
        ImageError: more than the stored bytes can hold, or more than half of the machine's memory.
    """
    if ratio is not None and needed > stored * ratio:
        raise unreadable(path, f"{stored} bytes of pixels where the header promises {needed} bytes")
    if needed > machine_memory() / 2:
        raise ImageError(
            "the image is larger than this machine can hold",
            where=path,
            got=f"{needed / 2**30:.1f} GiB from {stored / 2**20:.1f} MiB in the file",
            expected=f"at most {machine_memory() / 2**31:.1f} GiB, half of the memory",
            remedy="cut the image into parts or reduce its resolution, if its size is true at all",
        )


def unreadable(path: Path, reason: str) -> ImageError:
    """The error for a file whose bytes are not an image."""
    return ImageError(
        "the image cannot be read (damaged, truncated or not an image)",
        where=path,
        got=reason,
        remedy="fetch the file again or remove the case",
    )


def _distinct(array: np.ndarray) -> np.ndarray:
    """The distinct pixels (N, C) of channels (C, ...)."""
    return np.unique(array.reshape(len(array), -1), axis=1).T
