"""NIfTI-1 and NIfTI-2: headers are checked as nibabel does it, voxels read whole or not at all.

The place comes from the sform if it is set, else from the qform, as nibabel and most viewers have it. Headers are kept
(`Geometry.stored`), so that a prediction gets that of its image to the last bit. Source: the NIfTI-1 and NIfTI-2
standards (nifti1.h, nifti2.h, https://nifti.nimh.nih.gov).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data import itk
from autoseg.data.gzipped import compressed, first_content
from autoseg.data.gzipped import content as whole_content
from autoseg.data.image import Image, Remark
from autoseg.data.nifti_header import COLOURS, LONGEST, TYPES, new_header, parse_header
from autoseg.data.nifti_place import geometry_of, place_of, write_place
from autoseg.errors import ImageError

_NO_EXTENSION = bytes(4)
_LARGEST_SINGLE = float(np.finfo(np.float32).max)
_EXACT_ITEM = 2  # bytes of integers that a scaled float32 holds without loss


def read(path: Path) -> Image:
    """Reads a `.nii` or `.nii.gz`, or a `.hdr` with its `.img`; a fourth axis and colours become channels.

    Scaled integers become float32, or float64 where that loses digits or overflows.

    Raises:
        ImageError: not NIfTI, truncated, damaged, complex, sheared, or more axes than space and channels.
    """
    content = first_content(path)
    if len(content) < LONGEST:
        content = whole_content(path)
    header, pair, remarks = parse_header(content, path)
    if pair:
        path, content = _voxel_file(path)
    shape, channels = _axes(header, path)
    dtype, colours = _dtype(header, path)
    start, remark = _voxel_start(header, pair=pair)
    remarks += remark
    count = math.prod(shape) * channels
    end = start + count * colours * dtype.itemsize
    if len(content) < end:
        content = whole_content(path)
    if len(content) < end:
        raise itk.unreadable(path, f"{len(content)} bytes where the header promises {end}")
    geometry, placing = geometry_of(place_of(header), shape, path)
    voxels = np.frombuffer(content, dtype, count * colours, start)
    if colours > 1:
        array = _colours(voxels.reshape(*shape[::-1], colours), path)
    else:
        array = _scaled(voxels, header, path).reshape(channels, *shape[::-1])
    if geometry.dimension == 2:
        array = array[:, None]
    return Image(array, geometry, (*remarks, *placing))


def write(path: Path, image: Image) -> None:
    """Writes a file, compressed if its ending says so, or a `.hdr` with its `.img`; channels are the fourth axis.

    The header has the geometry's own place, bit for bit, where it was read from NIfTI and not changed since.

    Raises:
        ImageError: a dtype that NIfTI has not.
    """
    array = image.array.astype(np.uint8) if image.array.dtype == bool else image.array
    shape: tuple[int, ...] = image.shape[::-1] if image.geometry.dimension == 3 else image.shape[:0:-1]
    if len(array) > 1:
        shape = (*shape, 1, len(array))[-4:] if len(shape) == 2 else (*shape, len(array))
    header: Any = new_header(shape, array.dtype, pair=path.name.lower().endswith(".hdr"), where=path)
    write_place(header, image.geometry, image.shape)
    voxels = array.astype(array.dtype.newbyteorder("="), copy=False).tobytes()
    if path.name.lower().endswith(".hdr"):
        path.with_name(path.name[: -len(".hdr")] + ".img").write_bytes(voxels)
        path.write_bytes(header.tobytes())
        return
    header["vox_offset"] = len(header.tobytes()) + len(_NO_EXTENSION)
    content = header.tobytes() + _NO_EXTENSION + voxels
    path.write_bytes(compressed(content) if path.name.lower().endswith(".gz") else content)


def _voxel_file(path: Path) -> tuple[Path, bytes]:
    stem = path.name[: path.name.lower().rindex(".hdr")]
    for ending in (".img", ".img.gz", ".IMG"):
        file = path.with_name(stem + ending)
        if file.is_file():
            return file, first_content(file)
    raise itk.unreadable(path, f"its voxels are missing: there is no {stem}.img beside it")


def _axes(header: Any, path: Path) -> tuple[tuple[int, ...], int]:
    """Voxels along (x, y) or (x, y, z), and channels."""
    count = int(header["dim"][0])
    shape = [int(length) for length in header["dim"][1 : count + 1]] if 1 <= count <= 7 else []
    if len(shape) < 2 or min(shape) < 1:
        raise itk.unreadable(path, f"a header with {count} axes of {shape} voxels")
    further = [length for length in shape[3:] if length > 1]
    if len(further) > 1:
        raise ImageError(
            "the image has too many axes",
            where=path,
            got=f"{shape} voxels",
            expected="two or three axes of space and at most one of channels",
            remedy="write each time point or channel as a file of its own",
        )
    return tuple(shape[:3]), further[0] if further else 1


def _dtype(header: Any, path: Path) -> tuple[np.dtype, int]:
    """Of the stored numbers, and how many make a voxel (3 or 4 for colours)."""
    code = int(header["datatype"])
    if code not in TYPES:
        raise itk.unreadable(path, f"voxels of data type {code}")
    dtype = np.dtype(TYPES[code])
    if dtype.kind == "c":
        raise itk.complex_numbers(path, dtype)
    order = header.dtype["sizeof_hdr"].byteorder
    return dtype.newbyteorder(order), COLOURS.get(code, 1)


def _voxel_start(header: Any, *, pair: bool) -> tuple[int, list[Remark]]:
    stored, least = float(header["vox_offset"]), 0 if pair else header.dtype.itemsize + len(_NO_EXTENSION)
    if pair or stored >= least:
        return max(int(stored), 0) if math.isfinite(stored) else least, []
    what = "the header says that the voxels begin within it; they are taken from behind it"
    return least, [Remark("voxel-offset", what, got=f"byte {stored:g}", remedy="write the file anew if this is wrong")]


def _scaled(voxels: np.ndarray, header: Any, path: Path) -> np.ndarray:
    """Stored numbers in the machine's byte order, times the slope, plus the intercept, in memory of their own."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope) or slope == 0 or (slope, intercept) == (1.0, 0.0):
        return voxels.astype(voxels.dtype.newbyteorder("="))
    if not math.isfinite(intercept):
        raise itk.unreadable(path, f"a slope of {slope:g} with an intercept of {intercept}")
    with np.errstate(over="ignore"):
        real = voxels.astype(np.float64) * slope + intercept
    kind = voxels.dtype.kind
    exact = voxels.dtype.itemsize <= (_EXACT_ITEM if kind in "iu" else 4)
    extremes = np.abs([real.min(), real.max()]) if real.size else np.zeros(1)
    fits = not (extremes[np.isfinite(extremes)] > _LARGEST_SINGLE).any()
    return real.astype(np.float32) if exact and fits else real


def _colours(voxels: np.ndarray, path: Path) -> np.ndarray:
    """(z, y, x, 3 or 4) -> (3, z, y, x)."""
    if voxels.shape[-1] == 4 and voxels[..., 3].min() != voxels[..., 3].max():
        raise ImageError(
            "the image has transparent colours", where=path, expected="RGB or one number per voxel",
            remedy="write the colours without alpha channel",
        )  # fmt: skip
    return np.ascontiguousarray(np.moveaxis(voxels[..., :3], -1, 0))
