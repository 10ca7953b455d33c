"""Frames: each plane of pixels of a DICOM object with its place, its meaning, and what tells it from others.

Coordinates, spacings and directions are DICOM's own here, (x, y, z) of the patient, and turned to the project's
(z, y, x) where the volume is made (`stack.py`). Source: DICOM PS3.3, C.7.6.2 (image plane) and C.7.6.16 (multi-frame
functional groups).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from autoseg.data.dicom.attributes import Attributes
from autoseg.data.dicom.headers import DicomHeader, damaged
from autoseg.data.dicom.mosaic import Mosaic, read_mosaic
from autoseg.data.dicom.rescale import Rescale, read_rescale
from autoseg.data.dicom.traits import FrameGroups, echo_time, firm_traits, loose_traits
from autoseg.data.image import Remark
from autoseg.errors import ImageError

PLANAR_MODALITIES = frozenset(
    ("CR", "DX", "MG", "IO", "PX", "RG", "TG", "XC", "ES", "GM", "SM", "US", "IVUS", "XA", "RF", "OT", "OP", "DF", "SC")
)
"""Modalities whose single frames are planes that lie nowhere in the patient."""

_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_COSINE_TOLERANCE = 1e-2
_LEAST_COMPRESSED = 8  # bytes of a frame: the head of its fragment
_CENTIMETRE = 3  # code of the unit of ultrasound regions

Pair = tuple[float, float]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Tile:
    """The part of a stored frame that is a slice of its own: first row and column of a mosaic's tile."""

    row: int
    column: int


@dataclass(frozen=True)
class DicomFrame:
    """One plane of pixels.

    Attributes:
        header: of the object that it is stored in.
        number: in that object, from 0.
        shape: rows and columns.
        samples: 1, or 3 for colours (stored or by a palette).
        orientation: directions of growing column and row indices, (x, y, z) each, of length 1 and orthogonal; None if
            not said.
        position: centre of the first pixel in mm, (x, y, z); None if not said.
        spacing: mm between rows and between columns; None if not said.
        spacing_note: remark on a spacing that is not PixelSpacing's.
        thickness: mm, or 0.
        step: SpacingBetweenSlices in mm, or 0.
        rescale: how stored values become the values that are meant.
        firm: name -> text of what always tells volumes apart (echo, b-value, ...).
        loose: name -> text of what tells them apart where frames share a place (time, trigger, acquisition, ...).
        instance: InstanceNumber, or the number in the object.
        tile: part of a mosaic.
        echo_time: ms; None if not said.
        decimals: of the position's numbers as they are written, (x, y, z); empty where it is computed.
    """

    header: DicomHeader
    number: int
    shape: tuple[int, int]
    samples: int
    orientation: tuple[Point, Point] | None
    position: Point | None
    spacing: Pair | None
    spacing_note: Remark | None
    thickness: float
    step: float
    rescale: Rescale
    firm: tuple[tuple[str, str], ...]
    loose: tuple[tuple[str, str], ...]
    instance: int
    tile: Tile | None = None
    echo_time: float | None = None
    decimals: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """For messages: the file, and the frame where it has several."""
        several = self.header.frame_count > 1 or self.tile is not None
        return f"{self.header.stored.name} (frame {self.instance})" if several else self.header.stored.name

    @property
    def sop(self) -> str:
        """SOP Instance UID of the object."""
        return self.header.attributes.text("SOPInstanceUID")

    @property
    def modality(self) -> str:
        """CT, MR, ..."""
        return self.header.series[-1]

    @cached_property
    def normal(self) -> np.ndarray:
        """Direction in which slices are counted, (x, y, z): rows' direction cross columns' direction."""
        assert self.orientation is not None
        return np.cross(*np.asarray(self.orientation))

    @cached_property
    def depth(self) -> float | None:
        """Coordinate along the normal in mm; None for a frame without place."""
        if self.orientation is None or self.position is None:
            return None
        return float(self.normal @ np.asarray(self.position))


def frames_of(header: DicomHeader) -> Iterator[DicomFrame]:
    """The frames of an image, in the order in which they are stored.

    Raises:
        ImageError: a header that contradicts itself, a whole-slide image, or a mosaic without its private header.
    """
    top = header.attributes
    if top.text("SOPClassUID") == _WHOLE_SLIDE:
        raise ImageError(
            "whole-slide images are not read",
            where=header.stored.where,
            remedy="export the region that is to be segmented as TIFF",
        )
    count = header.frame_count
    _check_count(header)
    each = top.sequence("PerFrameFunctionalGroupsSequence")
    shared = top.sequence("SharedFunctionalGroupsSequence")[:1]
    if each and len(each) != count:
        raise top.unreadable("PerFrameFunctionalGroupsSequence", f"{len(each)} items for {count} frames")
    offsets = top.numbers("GridFrameOffsetVector", count) if count > 1 and not each else None
    for number in range(count):
        groups = FrameGroups(each[number : number + 1], shared, top, alone=count == 1)
        frame = _frame(header, groups, number)
        if offsets is not None and frame.orientation is not None:
            frame = _offset(frame, top, offsets[number] - offsets[0])  # relative or absolute
        mosaic = read_mosaic(top) if count == 1 else None
        yield from [frame] if mosaic is None else _tiles(frame, mosaic)


def _frame(header: DicomHeader, groups: FrameGroups, number: int) -> DicomFrame:
    top = header.attributes
    shape = (_extent(top, "Rows"), _extent(top, "Columns"))
    spacing, note = _spacing(groups, top)
    palette = top.text("PhotometricInterpretation") == "PALETTE COLOR"
    samples = 3 if palette else top.whole("SamplesPerPixel") or 1
    if samples not in (1, 3):
        raise top.unreadable("SamplesPerPixel", samples)
    return DicomFrame(
        header=header,
        number=number,
        shape=shape,
        samples=samples,
        orientation=_orientation(groups),
        position=_point(groups.numbers("PlanePositionSequence", "ImagePositionPatient", 3)),
        spacing=spacing,
        spacing_note=note,
        thickness=abs(groups.number("PixelMeasuresSequence", "SliceThickness") or 0.0),
        step=abs(groups.number("PixelMeasuresSequence", "SpacingBetweenSlices") or 0.0),
        rescale=read_rescale(groups, top),
        firm=firm_traits(groups, top),
        loose=loose_traits(groups, top),
        instance=number + 1 if header.frame_count > 1 else (top.whole("InstanceNumber") or 0),
        echo_time=echo_time(groups),
        decimals=groups.decimals("PlanePositionSequence", "ImagePositionPatient"),
    )


def _check_count(header: DicomHeader) -> None:
    """Refuses more frames than the bytes of the file can hold, before they are made."""
    top, size = header.attributes, header.stored.size
    least = _LEAST_COMPRESSED
    if not header.is_compressed:
        least = max(1, _extent(top, "Rows") * _extent(top, "Columns") * (top.whole("BitsAllocated") or 1) // 8)
    if header.frame_count > 1 and header.frame_count * least > size:
        raise damaged(header.stored.where, f"{header.frame_count} frames in {size} bytes")


def _extent(top: Attributes, keyword: str) -> int:
    extent = top.whole(keyword)
    if extent is None or extent < 1:
        raise top.unreadable(keyword, extent)
    return extent


def _point(numbers: tuple[float, ...] | None) -> Point | None:
    if numbers is None:
        return None
    x, y, z = numbers
    return x, y, z


def _orientation(groups: FrameGroups) -> tuple[Point, Point] | None:
    """The two directions, made orthonormal within rounding."""
    cosines = groups.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if cosines is None:
        return None
    along, down = np.array(cosines[:3]), np.array(cosines[3:])
    lengths = float(np.linalg.norm(along)), float(np.linalg.norm(down))
    faults = abs(lengths[0] - 1), abs(lengths[1] - 1), abs(float(along @ down))
    if max(faults) > _COSINE_TOLERANCE:
        text = "\\".join(f"{cosine:g}" for cosine in cosines)
        raise groups.top.unreadable("ImageOrientationPatient", f"{text}, no two directions at right angles")
    along = along / lengths[0]
    down = down - along * (along @ down)
    return tuple(along.tolist()), tuple((down / np.linalg.norm(down)).tolist())  # type: ignore[return-value]


def _spacing(groups: FrameGroups, top: Attributes) -> tuple[Pair | None, Remark | None]:
    """Spacing of rows and of columns in mm, and a remark where it is not the spacing in the patient."""
    spacing: tuple[float, ...] | None = groups.numbers("PixelMeasuresSequence", "PixelSpacing", 2)
    note = None
    for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if spacing is None:
            spacing = top.numbers(keyword, 2)
            note = None if spacing is None else _detector_note(keyword, spacing)
    regions = top.sequence("SequenceOfUltrasoundRegions") if spacing is None else ()
    if len(regions) == 1:
        units = regions[0].whole("PhysicalUnitsXDirection"), regions[0].whole("PhysicalUnitsYDirection")
        if units == (_CENTIMETRE, _CENTIMETRE):
            steps = (regions[0].number(keyword) for keyword in ("PhysicalDeltaY", "PhysicalDeltaX"))
            spacing = tuple(10 * abs(step or 0.0) for step in steps)
    if spacing is None:
        return None, None
    between_rows, between_columns = spacing
    if between_rows <= 0 or between_columns <= 0:
        raise top.unreadable("PixelSpacing", f"{between_rows:g}\\{between_columns:g}")
    return (between_rows, between_columns), note


def _detector_note(keyword: str, spacing: tuple[float, ...]) -> Remark:
    return Remark(
        "detector-spacing",
        f"{keyword}, the spacing at the detector, is taken for the spacing of pixels; what is imaged is smaller",
        got=f"{spacing[0]:g} x {spacing[1]:g} mm",
    )


def _offset(frame: DicomFrame, top: Attributes, offset: float) -> DicomFrame:
    """A dose grid's frame: the offset runs along the normal from the object's position (PS3.3, C.8.8.3.2)."""
    start = top.numbers("ImagePositionPatient", 3)
    if start is None:
        return frame
    place = _point(tuple((np.array(start) + offset * frame.normal).tolist()))
    return replace(frame, position=place, decimals=())


def _tiles(frame: DicomFrame, mosaic: Mosaic) -> Iterator[DicomFrame]:
    """The slices of a Siemens mosaic, whose position is that of a single slice as large as the whole mosaic."""
    if frame.orientation is None or frame.position is None or frame.spacing is None or not frame.step:
        raise ImageError(
            "the Siemens mosaic does not say where its slices lie",
            where=frame.header.stored.where,
            expected="position, orientation, pixel spacing and SpacingBetweenSlices",
            remedy="export the series as single slices or as enhanced multi-frame",
        )
    side = mosaic.side
    if frame.shape[0] % side or frame.shape[1] % side:
        raise frame.header.attributes.unreadable(
            "Rows", f"{frame.shape[0]} x {frame.shape[1]} in {side} x {side} tiles"
        )
    rows, columns = frame.shape[0] // side, frame.shape[1] // side
    along, down = np.asarray(frame.orientation)
    first = np.asarray(frame.position)
    first = first + along * frame.spacing[1] * (frame.shape[1] - columns) / 2
    first = first + down * frame.spacing[0] * (frame.shape[0] - rows) / 2
    normal = frame.normal * np.sign(frame.normal @ np.asarray(mosaic.normal))
    for index in range(mosaic.count):
        position = (first + index * frame.step * normal).tolist()
        tile = Tile(index // side * rows, index % side * columns)
        place = _point(tuple(position))
        yield replace(frame, shape=(rows, columns), position=place, tile=tile, instance=index + 1, decimals=())
