"""NIfTI-1 and NIfTI-2: headers by nibabel, whose checks become remarks or errors; voxels read whole or not at all.

The place comes from the sform if it is set, else from the qform, as nibabel and most viewers have it. Headers are kept
(`Geometry.stored`), so that a prediction gets that of its image to the last bit. Source: the NIfTI-1 and NIfTI-2
standards (nifti1.h, nifti2.h, https://nifti.nimh.nih.gov).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.data import itk
from autoseg.data.gzipped import compressed, first_content
from autoseg.data.gzipped import content as whole_content
from autoseg.data.image import Image, Remark
from autoseg.data.nifti_place import geometry_of, place_of, write_place
from autoseg.errors import ImageError

if TYPE_CHECKING:
    import nibabel

_HEADER_BYTES = {348: "nifti1", 540: "nifti2"}
_LONGEST_HEADER = max(_HEADER_BYTES)
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
    if len(content) < _LONGEST_HEADER:
        content = whole_content(path)
    header, pair, remarks = _header(content, path)
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
    header = _new_header(path, shape, array.dtype)
    write_place(header, image.geometry, image.shape)
    voxels = array.astype(array.dtype.newbyteorder("="), copy=False).tobytes()
    if path.name.lower().endswith(".hdr"):
        path.with_name(path.name[: -len(".hdr")] + ".img").write_bytes(voxels)
        path.write_bytes(header.binaryblock)
        return
    header["vox_offset"] = len(header.binaryblock) + len(_NO_EXTENSION)
    content = header.binaryblock + _NO_EXTENSION + voxels
    path.write_bytes(compressed(content) if path.name.lower().endswith(".gz") else content)


def _new_header(path: Path, shape: Sequence[int], dtype: np.dtype) -> Any:
    """A header of nibabel without a place: NIfTI-2 for more voxels along an axis than NIfTI-1 can count."""
    import nibabel

    large, pair = max(shape) > np.iinfo(np.int16).max, path.name.lower().endswith(".hdr")
    modules = nibabel.nifti2 if large else nibabel.nifti1
    number = 2 if large else 1
    header = getattr(modules, f"Nifti{number}PairHeader" if pair else f"Nifti{number}Header")()
    try:
        header.set_data_dtype(dtype)
    except nibabel.spatialimages.HeaderDataError:
        raise ImageError(
            f"cannot be written as {dtype}", where=path, remedy="NIfTI holds integers, float32 and float64"
        ) from None
    header.set_data_shape(tuple(shape))
    return header


def _header(content: bytes, path: Path) -> tuple[nibabel.Nifti1Header, bool, list[Remark]]:
    """The header, whether its voxels are in a file of their own, and what nibabel mends in it."""
    import nibabel

    sizes = {int.from_bytes(content[:4], order) for order in ("little", "big")}
    kind = next((_HEADER_BYTES[size] for size in sizes if size in _HEADER_BYTES), None)
    length = 540 if kind == "nifti2" else 348
    magic = content[4:12] if kind == "nifti2" else content[344:348]
    kinds = {
        ("nifti1", b"n+1"): (nibabel.nifti1.Nifti1Header, False),
        ("nifti1", b"ni1"): (nibabel.nifti1.Nifti1PairHeader, True),
        ("nifti2", b"n+2"): (nibabel.nifti2.Nifti2Header, False),
        ("nifti2", b"ni2"): (nibabel.nifti2.Nifti2PairHeader, True),
    }
    if kind is None or len(content) < length or (kind, magic[:3]) not in kinds:
        if kind == "nifti1" and len(content) == length:
            raise ImageError(
                "the header is Analyze's, which does not say which side is left",
                where=path,
                expected="NIfTI",
                remedy="convert it with a program that knows how it was stored",
            )
        raise itk.unreadable(path, "no NIfTI header")
    cls, pair = kinds[kind, magic[:3]]
    if pair != path.name.lower().endswith(".hdr"):
        raise itk.unreadable(path, "a header for voxels in " + ("another file" if pair else "the same file"))
    header = cls(content[:length], check=False)
    offset = header["vox_offset"].copy()
    told = _Collected()
    try:
        header.check_fix(told.logger, error_level=math.inf)
    except (nibabel.spatialimages.HeaderDataError, ValueError, OverflowError) as error:
        raise itk.unreadable(path, str(error)) from None
    header["vox_offset"] = offset  # which nibabel moves without a word where it points into the header
    return header, pair, told.remarks(path)


class _Collected(logging.Handler):
    """What nibabel's checks say of a header, instead of on the terminal."""

    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.logger = logging.Logger("nifti header")
        self.logger.addHandler(self)
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)

    def remarks(self, path: Path) -> list[Remark]:
        """Remarks for what nibabel has mended and matters; ImageError for what cannot be mended."""
        remarks = []
        for record in self._records:
            message = record.getMessage()
            if "pixdim" in message and "positive" in message:
                what = "the header has voxel sizes that are not positive; their absolute values are used"
                remarks.append(Remark("negative-spacing", what, got=message.split(";")[0], remedy="mend the header"))
            elif record.levelno >= logging.ERROR and "vox offset" not in message and "magic" not in message:
                raise itk.unreadable(path, message.split(";")[0])
        return remarks


def _voxel_file(path: Path) -> tuple[Path, bytes]:
    stem = path.name[: path.name.lower().rindex(".hdr")]
    for ending in (".img", ".img.gz", ".IMG"):
        file = path.with_name(stem + ending)
        if file.is_file():
            return file, first_content(file)
    raise itk.unreadable(path, f"its voxels are missing: there is no {stem}.img beside it")


def _axes(header: nibabel.Nifti1Header, path: Path) -> tuple[tuple[int, ...], int]:
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


def _dtype(header: nibabel.Nifti1Header, path: Path) -> tuple[np.dtype, int]:
    """Of the stored numbers, and how many make a voxel (3 or 4 for colours)."""
    try:
        dtype = header.get_data_dtype()
    except (KeyError, ValueError):
        dtype = np.dtype(np.void)
    if dtype.fields is not None:
        return np.dtype(np.uint8), len(dtype.fields)
    if dtype.kind == "c":
        raise itk.complex_numbers(path, dtype)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise itk.unreadable(path, f"voxels of data type {int(header['datatype'])}")
    return dtype, 1


def _voxel_start(header: nibabel.Nifti1Header, *, pair: bool) -> tuple[int, list[Remark]]:
    stored, least = float(header["vox_offset"]), 0 if pair else len(header.binaryblock) + 4
    if pair or stored >= least:
        return max(int(stored), 0) if math.isfinite(stored) else least, []
    what = "the header says that the voxels begin within it; they are taken from behind it"
    return least, [Remark("voxel-offset", what, got=f"byte {stored:g}", remedy="write the file anew if this is wrong")]


def _scaled(voxels: np.ndarray, header: nibabel.Nifti1Header, path: Path) -> np.ndarray:
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
