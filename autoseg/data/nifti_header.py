"""NIfTI-1 and NIfTI-2 headers as records of NumPy, with nibabel's checks.

To import nibabel itself takes a third of a second in each command, as long as to read a small data set. Source of the
layouts: nifti1.h and nifti2.h (https://nifti.nimh.nih.gov).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.image import Remark
from autoseg.data.itk.conversion import unreadable
from autoseg.errors import ImageError

NIFTI_1 = np.dtype([
    ("sizeof_hdr", "i4"), ("data_type", "S10"), ("db_name", "S18"), ("extents", "i4"), ("session_error", "i2"),
    ("regular", "S1"), ("dim_info", "u1"), ("dim", "i2", 8), ("intent_p", "f4", 3), ("intent_code", "i2"),
    ("datatype", "i2"), ("bitpix", "i2"), ("slice_start", "i2"), ("pixdim", "f4", 8), ("vox_offset", "f4"),
    ("scl_slope", "f4"), ("scl_inter", "f4"), ("slice_end", "i2"), ("slice_code", "u1"), ("xyzt_units", "u1"),
    ("cal_max", "f4"), ("cal_min", "f4"), ("slice_duration", "f4"), ("toffset", "f4"), ("glmax", "i4"),
    ("glmin", "i4"), ("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "i2"), ("sform_code", "i2"),
    ("quatern", "f4", 3), ("qoffset", "f4", 3), ("srow", "f4", (3, 4)), ("intent_name", "S16"), ("magic", "S4"),
])  # fmt: skip
NIFTI_2 = np.dtype([
    ("sizeof_hdr", "i4"), ("magic", "S4"), ("eol_check", "u1", 4), ("datatype", "i2"), ("bitpix", "i2"),
    ("dim", "i8", 8), ("intent_p", "f8", 3), ("pixdim", "f8", 8), ("vox_offset", "i8"), ("scl_slope", "f8"),
    ("scl_inter", "f8"), ("cal_max", "f8"), ("cal_min", "f8"), ("slice_duration", "f8"), ("toffset", "f8"),
    ("slice_start", "i8"), ("slice_end", "i8"), ("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "i4"),
    ("sform_code", "i4"), ("quatern", "f8", 3), ("qoffset", "f8", 3), ("srow", "f8", (3, 4)), ("slice_code", "i4"),
    ("xyzt_units", "i4"), ("intent_code", "i4"), ("intent_name", "S16"), ("dim_info", "u1"), ("unused_str", "S15"),
])  # fmt: skip

LONGEST = NIFTI_2.itemsize

COLOURS = {128: 3, 2304: 4}
"""Data types of colours: bytes per voxel."""

TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 32: "c8", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
    1792: "c16", **dict.fromkeys(COLOURS, "u1"),
}  # fmt: skip
"""Data types of voxels that can be read, complex numbers among them, which are refused by name."""

_LAYOUTS = {NIFTI_1.itemsize: (NIFTI_1, b"n+1", b"ni1"), NIFTI_2.itemsize: (NIFTI_2, b"n+2", b"ni2")}
_LARGEST_CODE = 5  # of the spaces that qform and sform may lead to


def parse_header(content: bytes, path: Path) -> tuple[np.ndarray, bool, list[Remark]]:
    """The header at the beginning of a file.

    Args:
        content: of the file, or its first `LONGEST` bytes.
        path: of the file, for errors.

    Returns:
        A record of `NIFTI_1` or `NIFTI_2` in the byte order of the file, whether its voxels are in a file of their own,
        and what was mended in it.

    Raises:
        ImageError: no header, one of another kind of file, or Analyze's.
    """
    for order in ("<", ">"):
        size = int(np.frombuffer(content[:4].ljust(4, b"\0"), f"{order}i4")[0])
        if size in _LAYOUTS and len(content) >= size:
            layout, single, pair = _LAYOUTS[size]
            header = np.frombuffer(content, layout.newbyteorder(order), 1)[0:1].copy()[0]
            break
    else:
        raise unreadable(path, "no NIfTI header")
    magic = bytes(header["magic"])[:3]
    if magic not in (single, pair):
        if layout is NIFTI_1 and len(content) == layout.itemsize:
            raise ImageError(
                "the header is Analyze's, which does not say which side is left",
                where=path,
                expected="NIfTI",
                remedy="convert it with a program that knows how it was stored",
            )
        raise unreadable(path, "no NIfTI header")
    apart = magic == pair
    if apart != path.name.lower().endswith(".hdr"):
        raise unreadable(path, "a header for voxels in " + ("another file" if apart else "the same file"))
    return header, apart, _mend(header)


def _mend(header: Any) -> list[Remark]:
    """Mends what nibabel mends: voxel sizes below zero and codes of spaces that there are not."""
    remarks = []
    sizes = header["pixdim"][1:4]
    if (sizes < 0).any():
        what = "the header has voxel sizes that are not positive; their absolute values are used"
        got = ", ".join(f"{value:g}" for value in sizes)
        remarks.append(Remark("negative-spacing", what, got=got, remedy="mend the header"))
        header["pixdim"][1:4] = np.abs(sizes)
    for name in ("qform_code", "sform_code"):
        if not 0 <= header[name] <= _LARGEST_CODE:
            what = f"the {name} of the header is none that there is; it counts as not set"
            remarks.append(Remark("unknown-code", what, got=str(header[name]), remedy="mend the header"))
            header[name] = 0
    return remarks


def new_header(shape: tuple[int, ...], dtype: np.dtype, *, pair: bool, where: Path) -> np.ndarray:
    """A header without a place: NIfTI-2 for more voxels along an axis than NIfTI-1 can count.

    Args:
        shape: voxels along (x, y, ...).
        dtype: of the voxels.
        pair: whether the voxels are in a file of their own.
        where: the file, for errors.

    Raises:
        ImageError: a dtype that NIfTI has not.
    """
    names = {np.dtype(name): code for code, name in TYPES.items() if code not in COLOURS}
    code = names.get(dtype.newbyteorder("="))
    if code is None or dtype.kind == "c":
        raise ImageError(
            f"cannot be written as {dtype}", where=where, remedy="NIfTI holds integers, float32 and float64"
        )
    large = max(shape) > np.iinfo(np.int16).max
    layout, single, apart = _LAYOUTS[(NIFTI_2 if large else NIFTI_1).itemsize]
    header: Any = np.zeros(1, layout)[0]
    header["sizeof_hdr"], header["magic"] = layout.itemsize, apart if pair else single
    if large:
        header["eol_check"] = (13, 10, 26, 10)
    header["dim"][0], header["dim"][1 : len(shape) + 1], header["dim"][len(shape) + 1 :] = len(shape), shape, 1
    header["datatype"], header["bitpix"] = code, 8 * dtype.itemsize
    header["pixdim"] = 1.0
    header["scl_slope"] = 1.0
    found: np.ndarray = header
    return found
