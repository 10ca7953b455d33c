"""NIfTI voxels, read here rather than by ITK, which hides damage: it fills what is missing and every NaN with zeros.

ITK still reads the header, so that geometry and axes are its own; damage and NaN then show, at half ITK's time.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from autoseg.data import itk
from autoseg.data.image import Geometry, Image

_SCALARS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
"""NIfTI datatype codes (nifti1.h) of single numbers."""


@dataclass(frozen=True)
class _Header:
    """What a single-file NIfTI-1 or NIfTI-2 header says about its voxels; sizes in bytes.

    `placing` are the fields that place a scalar volume in the world (spacing, units, both transforms): two headers
    with the same have the same geometry. None where more decides, such as a fourth axis.
    """

    start: int
    end: int
    shape: tuple[int, ...]  # as stored, x first
    placing: bytes | None
    dtype: np.dtype | None  # None for colours and complex numbers
    slope: float
    intercept: float

    @property
    def scaled(self) -> bool:
        """Whether stored numbers are to be scaled (a slope of 0 or NaN means no)."""
        scales = math.isfinite(self.slope) and math.isfinite(self.intercept) and self.slope != 0
        return scales and (self.slope, self.intercept) != (1.0, 0.0)


def read(path: Path) -> Image:
    """Reads a `.nii` or `.nii.gz`; a fourth axis becomes channels, scaled integers become float32 as ITK has them.

    Raises:
        ImageError: not NIfTI, truncated, damaged, or more axes than space and channels.
    """
    content = itk.content(path)
    header = _parse(content)
    if header is None:
        raise itk.unreadable(path, "no header of a single-file NIfTI")
    if len(content) < header.end:
        raise itk.unreadable(path, f"{len(content)} bytes where the header promises {header.end}")
    information = _information(header, path)
    if header.dtype is None or information.components > 1:
        return itk.read(path)
    shape = information.size[::-1]  # NIfTI stores x fastest, as a C-ordered (t, z, y, x) array does
    voxels = np.frombuffer(content, header.dtype, math.prod(shape), header.start).reshape(shape)
    if header.scaled:
        real = np.float64 if header.dtype.kind == "f" and header.dtype.itemsize == 8 else np.float32
        array = (voxels.astype(np.float64) * header.slope + header.intercept).astype(real)
    else:
        array = voxels.astype(header.dtype.newbyteorder("="))  # a copy: `content` cannot be written to
    return itk.with_axes(array, information, path)


@dataclass(frozen=True)
class _Placed:
    """A file, equal to every other that is placed the same."""

    placing: bytes
    path: Path = field(compare=False)


@lru_cache(maxsize=256)
def _geometry(placed: _Placed) -> Geometry:
    return itk.read_nifti_header(placed.path).geometry


def _information(header: _Header, path: Path) -> itk.Header:
    """What ITK reads of the header; asked once for all volumes that lie alike, as a label map and its image do."""
    if header.placing is None:
        return itk.read_nifti_header(path)
    return itk.Header(header.shape, 1, _geometry(_Placed(header.placing, path)))


def _parse(content: bytes) -> _Header | None:
    """The header; None if the bytes are none. Offsets as in nifti1.h and nifti2.h."""
    for order in "<>":
        size = struct.unpack(order + "i", content[:4])[0] if len(content) >= 348 else 0
        if size == 348 and content[344:347] == b"n+1":
            dims = struct.unpack(order + "8h", content[40:56])
            placing = content[76:108] + content[123:124] + content[252:328]
            intent = content[68:70]
            code, bits = struct.unpack(order + "2h", content[70:74])
            start, slope, intercept = struct.unpack(order + "3f", content[108:120])
        elif size == 540 and content[4:7] == b"n+2" and len(content) >= 540:
            code, bits = struct.unpack(order + "2h", content[12:16])
            dims = struct.unpack(order + "8q", content[16:80])
            placing = content[104:168] + content[344:504]
            intent = content[504:508]
            start, slope, intercept = struct.unpack(order + "q2d", content[168:192])
        else:
            continue
        end = int(start) + math.prod(dims[1 : dims[0] + 1]) * bits // 8
        dtype = np.dtype(order + _SCALARS[code]) if code in _SCALARS else None
        shape = dims[1 : dims[0] + 1]
        simple = len(shape) == 3 and min(shape) > 1 and not any(intent) and dtype is not None
        return _Header(int(start), end, shape, order.encode() + placing if simple else None, dtype, slope, intercept)
    return None
