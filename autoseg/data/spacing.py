"""Whether an image file says how far its voxels lie apart; where it does not, readers assume 1 mm without a word."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

from autoseg.data.files import ending_of
from autoseg.data.formats import format_of
from autoseg.errors import ImageError

_HEADER = 540  # bytes of the longer of the two NIfTI headers


def lacks_scale(path: str | Path) -> bool:
    """Whether the format cannot hold a spacing (PNG, JPEG, BMP), so that one pixel counts as 1 mm."""
    form = format_of(ending_of(path))
    return form is not None and form.geometry == "nothing"


def check_spacing(path: str | Path) -> None:
    """Refuses a NIfTI file whose spacing is 0 or no number; other formats and unreadable files pass.

    Raises:
        ImageError: as said.
    """
    if ending_of(path) not in (".nii", ".nii.gz"):
        return
    spacing = _nifti_spacing(Path(path))
    if spacing is not None and not all(math.isfinite(step) and step != 0 for step in spacing):
        raise ImageError(
            "the spacing is missing",
            where=path,
            got=f"{', '.join(f'{step:g}' for step in spacing)} (pixdim, x first)",
            expected="a distance above zero along each axis",
            remedy="correct the image's header",
        )


def _nifti_spacing(path: Path) -> tuple[float, ...] | None:
    """The header's spacings of up to three axes, x first; None if it is no NIfTI header. Offsets as in nifti1.h."""
    try:
        with path.open("rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as stream:
            content = stream.read(_HEADER)
    except (OSError, EOFError, zlib.error):
        return None
    for order in "<>":
        size = struct.unpack(order + "i", content[:4])[0] if len(content) >= 348 else 0
        if size == 348:
            (axes,), steps = struct.unpack(order + "h", content[40:42]), struct.unpack(order + "7f", content[80:108])
        elif size == 540 and len(content) == _HEADER:
            (axes,), steps = struct.unpack(order + "q", content[16:24]), struct.unpack(order + "7d", content[112:168])
        else:
            continue
        spacing: tuple[float, ...] = steps[: min(max(axes, 0), 3)]
        return spacing
    return None
