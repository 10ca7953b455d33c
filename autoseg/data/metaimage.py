"""MetaImage (.mha, .mhd): headers are checked and voxels read here; ITK's reader ends the process for some damage.

ITK still reads the geometry, of headers that hold together, and writes. Source: the MetaIO documentation
(https://docs.itk.org/en/latest/learn/metaio.html).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data import itk
from autoseg.data.axes import in_millimetres
from autoseg.data.image import Image

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_LONGEST_HEADER = 1 << 16
_LARGEST_RATIO = 1032  # bytes that deflate can make of one


@dataclass(frozen=True)
class _Layout:
    """What a header says of its voxels.

    Attributes:
        size: voxels along (x, y, ...).
        channels: numbers per voxel.
        dtype: of the numbers.
        start: of the voxels in their file; None for its last bytes.
        slope: by which the numbers are multiplied, and what is then added.
        packed: bytes of the compressed voxels, 0 for all that follow; None where they are not compressed.
    """

    size: tuple[int, ...]
    channels: int
    dtype: np.dtype
    start: int | None
    packed: int | None
    slope: tuple[float, float] = (1.0, 0.0)

    @property
    def stored(self) -> int:
        """Bytes of the voxels, once they are unpacked."""
        return math.prod(self.size) * self.channels * self.dtype.itemsize


def read(path: Path) -> Image:
    """Reads a MetaImage; a fourth axis and the numbers of a voxel become channels.

    Raises:
        ImageError: damaged, cut off, voxels spread over several files or written as text.
    """
    content = path.read_bytes()
    fields, behind = _fields(content, path)
    name = fields["ElementDataFile"]
    layout = _layout(fields, behind if name == "LOCAL" else None, path)
    if name != "LOCAL":
        content = _voxel_file(path, name).read_bytes()
    voxels = _voxels(content, layout, path)
    header = itk.read_meta_header(path)
    if header.size != layout.size:
        raise itk.unreadable(path, "its size is ambiguous")
    shape = layout.size[::-1] + ((layout.channels,) if layout.channels > 1 else ())
    array = voxels.reshape(shape).astype(layout.dtype.newbyteorder("="))
    if layout.slope != (1.0, 0.0):
        slope, intercept = layout.slope
        array = (array * slope + intercept).astype(np.float64 if array.dtype.itemsize > 2 else np.float32)
    image = itk.with_axes(array, header, path)
    return in_millimetres(image, [fields.get("DistanceUnits", "")], path)


def _fields(content: bytes, path: Path) -> tuple[dict[str, str], int]:
    """The header's fields, and where it ends; ElementDataFile is the last."""
    fields: dict[str, str] = {}
    start = 0
    while "ElementDataFile" not in fields:
        end = content.find(b"\n", start, _LONGEST_HEADER)
        if end < 0:
            raise itk.unreadable(path, "no header of a MetaImage")
        key, equals, value = content[start:end].decode("latin-1").partition("=")
        if not equals:
            raise itk.unreadable(path, f"a line {content[start:end][:40]!r} in the header")
        fields[key.strip()] = value.strip()
        start = end + 1
    return fields, start


def _layout(fields: Mapping[str, str], start: int | None, path: Path) -> _Layout:
    try:
        axes = int(fields["NDims"])
        size = tuple(int(length) for length in fields["DimSize"].split())
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        skipped = int(fields.get("HeaderSize", "0"))
        packed = int(fields.get("CompressedDataSize", "0")) if _says_yes(fields, "CompressedData") else None
        for name, count in (("ElementSpacing", axes), ("Offset", axes), ("TransformMatrix", axes * axes)):
            values = [float(value) for value in fields[name].split()] if name in fields else [1.0] * count
            if len(values) != count or not np.isfinite(values).all():
                raise ValueError(f"{name} = {fields[name]}")
            if name == "ElementSpacing" and min(values) <= 0:
                raise ValueError(f"{name} = {fields[name]}")
        slope = float(fields.get("ElementToIntensityFunctionSlope", "1"))
        intercept = float(fields.get("ElementToIntensityFunctionOffset", "0"))
        if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0:
            raise ValueError(f"ElementToIntensityFunctionSlope = {slope}")
        order = ">" if _says_yes(fields, "BinaryDataByteOrderMSB") or _says_yes(fields, "ElementByteOrderMSB") else "<"
        dtype = np.dtype(order + _TYPES[fields["ElementType"]])
    except KeyError as error:
        raise itk.unreadable(path, f"no {error.args[0]} in the header" if "MET_" not in str(error) else
                             f"an ElementType {error.args[0]}") from None  # fmt: skip
    except ValueError as error:
        raise itk.unreadable(path, f"a header that does not hold together ({error})") from None
    if axes not in (2, 3, 4) or len(size) != axes or min(size) < 1 or channels < 1:
        raise itk.unreadable(path, f"{axes} axes of {size} voxels with {channels} channels")
    if not _says_yes(fields, "BinaryData"):
        raise itk.unreadable(path, "voxels written as text")
    if start is None and skipped >= 0:
        start = skipped
    return _Layout(size, channels, dtype, start, packed, (slope, intercept))


def _voxel_file(path: Path, name: str) -> Path:
    file = path.parent / name
    if name.split()[0] == "LIST" or "%" in name:
        raise itk.unreadable(path, "voxels spread over several files")
    try:
        there = file.is_file()
    except (OSError, ValueError):  # no name that a file can have
        there = False
    if not there:
        raise itk.unreadable(path, f"its voxels are missing: there is no {name[:80]} beside it")
    return file


def _voxels(content: bytes, layout: _Layout, path: Path) -> np.ndarray:
    """(N,) numbers as they are stored."""
    if layout.packed is None:
        start = len(content) - layout.stored if layout.start is None else layout.start
        if start < 0 or len(content) - start < layout.stored:
            raise itk.unreadable(path, f"{len(content)} bytes where the header promises {start + layout.stored}")
        return np.frombuffer(content, layout.dtype, layout.stored // layout.dtype.itemsize, start)
    packed = content[layout.start or 0 :][: layout.packed or None]
    if layout.packed > len(packed) or layout.stored > _LARGEST_RATIO * len(packed) + _LONGEST_HEADER:
        raise itk.unreadable(path, f"{len(packed)} bytes where the header promises {layout.packed}, compressed")
    unpacker = zlib.decompressobj(wbits=47)  # zlib's or gzip's form
    try:
        unpacked = unpacker.decompress(packed, layout.stored)
        # A byte more makes the checksum be looked at.
        unpacked += unpacker.decompress(unpacker.unconsumed_tail, 1)
    except zlib.error as error:
        raise itk.unreadable(path, f"damaged voxels ({error})") from None
    if len(unpacked) != layout.stored or not unpacker.eof:
        raise itk.unreadable(path, f"{len(unpacked)} bytes of voxels where the header promises {layout.stored}")
    return np.frombuffer(unpacked, layout.dtype)


def _says_yes(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "").strip().casefold() in ("true", "1")
