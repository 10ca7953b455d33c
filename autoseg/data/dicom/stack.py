"""Frames of a volume as an even stack: sorted, without copies, placed; or refused with the cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoseg.data.dicom.frames import PLANAR_MODALITIES, DicomFrame
from autoseg.data.dicom.volumes import SamePixels, Volume, in_one_place, repeated
from autoseg.data.image import Geometry, Remark, Vector
from autoseg.errors import ImageError
from autoseg.log import counted

_GAP_TOLERANCE = 0.1  # of the usual distance between neighbouring slices
_DRIFT_TOLERANCE = 0.5  # of that distance, from an even stack
_TOLD_UNEVENNESS = 0.02
_ROUNDED = 0.2  # of that distance: a coarser unit of positions could hide a missing slice, which shifts others by 0.25
_SILENT_SHEAR = 0.25  # of the pixel spacing, over the whole stack
_TOLD_SHEAR = 1.0
_TOLD_ANGLE = 0.1  # degrees


@dataclass(frozen=True)
class Stack:
    """A volume's frames in their order with their common place.

    Attributes:
        frames: one per slice.
        geometry: of the upright grid that begins at the first slice.
        shifts: mm by which each slice lies beside that grid, along columns (y) and rows (x); zero but for a tilted
            gantry. Array (Z, 2).
        remarks: on what was assumed or left out.
    """

    frames: tuple[DicomFrame, ...]
    geometry: Geometry
    shifts: np.ndarray
    remarks: tuple[Remark, ...] = ()


def make_stack(volume: Volume, same_pixels: SamePixels, where: Path) -> Stack:
    """A volume's frames as a stack, or as a plane.

    Raises:
        ImageError: no place, no pixel spacing, slices that are missing, uneven, or in one place.
    """
    first = volume.frames[0]
    single = len(volume.frames) == 1
    if single and (first.modality in PLANAR_MODALITIES or first.depth is None):
        return _plane(first, where)
    _check_places(volume, where)
    frames, remarks = _without_copies(volume, same_pixels, where)
    frames.sort(key=lambda frame: frame.depth or 0.0)
    depths = np.array([frame.depth for frame in frames])
    if len(frames) == 1:
        distance, noted = _thickness(frames[0])
    else:
        distance, noted = _distance(frames, depths, where)
    noted += [frame.spacing_note for frame in frames if frame.spacing_note is not None][:1]
    return Stack(
        tuple(frames), _geometry(frames[0], distance), _shifts(frames), (*remarks, *noted, *_rescale_notes(frames))
    )


def shear(stack: Stack) -> tuple[float, float]:
    """Farthest shift of a slice from the upright stack, in mm, and the angle of the gantry in degrees."""
    farthest = float(np.linalg.norm(stack.shifts, axis=1).max())
    height = (len(stack.frames) - 1) * stack.geometry.spacing[0]
    return farthest, float(np.degrees(np.arctan2(farthest, height))) if height else 0.0


def shear_matters(stack: Stack) -> bool:
    """Whether slices lie noticeably beside each other: by more than a pixel, or by a quarter and 0.1 degrees."""
    farthest, angle = shear(stack)
    pixel = min(stack.geometry.spacing[1:])
    return farthest > _TOLD_SHEAR * pixel or (farthest > _SILENT_SHEAR * pixel and angle > _TOLD_ANGLE)


def _plane(frame: DicomFrame, where: Path) -> Stack:
    """A single frame that lies nowhere: spacing alone is kept."""
    remarks = [] if frame.spacing_note is None else [frame.spacing_note]
    spacing = frame.spacing
    if frame.modality not in PLANAR_MODALITIES:
        if spacing is None:
            raise _no_spacing([frame], where)
        remarks.append(
            Remark("plane-without-place", "the slice does not say where it lies; it is taken for a plane", frame.name)
        )
    if spacing is None:
        ratio = frame.header.attributes.numbers("PixelAspectRatio", 2) or (1.0, 1.0)
        spacing = (ratio[0] / ratio[1], 1.0) if min(ratio) > 0 else (1.0, 1.0)
        remarks.append(
            Remark(
                "no-pixel-spacing",
                "the plane has no pixel spacing; 1 mm is taken",
                got=frame.name,
                remedy="sizes in mm mean nothing then; correct the header if the spacing is known",
            )
        )
    return Stack((frame,), Geometry.plane(spacing), np.zeros((1, 2)), (*remarks, *_rescale_notes([frame])))


def _rescale_notes(frames: Sequence[DicomFrame]) -> list[Remark]:
    """What is to be said of how values are rescaled, once for all frames of which the same is to be said."""
    noted: dict[str, list[Remark]] = {}
    for frame in frames:
        if frame.rescale.note is not None:
            noted.setdefault(frame.rescale.note.what, []).append(frame.rescale.note)
    return [
        replace(notes[0], got=f"{notes[0].got} ({len(notes)} of {counted(len(frames), 'slice')})")
        for notes in noted.values()
    ]


def _check_places(volume: Volume, where: Path) -> None:
    frames = volume.frames
    homeless = [frame for frame in frames if frame.depth is None]
    if homeless:
        lacking = "ImagePositionPatient" if homeless[0].position is None else "ImageOrientationPatient"
        raise ImageError(
            "the DICOM slices do not say where they lie",
            where=where,
            got=f"no {lacking} in {counted(len(homeless), 'slice')} of {len(frames)} ({homeless[0].name})",
            expected="a position and an orientation in every slice",
            remedy="export the series with its geometry, or convert it to NIfTI with a spacing that you know",
        )
    if frames[0].spacing is None:
        raise _no_spacing(frames, where)


def _no_spacing(frames: Sequence[DicomFrame], where: Path) -> ImageError:
    return ImageError(
        "the DICOM slices have no pixel spacing",
        where=where,
        got=f"no PixelSpacing in {frames[0].name}",
        expected="the distance between pixels in mm",
        remedy="export the series with its geometry, or convert it to NIfTI with a spacing that you know",
    )


def _without_copies(volume: Volume, same_pixels: SamePixels, where: Path) -> tuple[list[DicomFrame], list[Remark]]:
    """One frame per place; equal ones are dropped."""
    dropped: list[DicomFrame] = []
    for group in repeated(sorted(volume.frames, key=lambda frame: (frame.instance, frame.number))):
        if not in_one_place(group):
            raise ImageError(
                "DICOM slices lie beside each other in one plane",
                where=where,
                got=f"{_point_text(group[0])} and {_point_text(group[1])} mm ({group[0].name}, {group[1].name})",
                expected="slices above each other",
                remedy="check orientation and positions, or give each stack a folder of its own",
            )
        if not same_pixels(group):
            raise ImageError(
                "DICOM slices lie in one place and differ",
                where=where,
                got=f"{counted(len(group), 'slice')} at {_point_text(group[0])} mm ({group[0].name}, {group[1].name})",
                expected="one slice in each place, or attributes that tell volumes apart (echo, b-value, time, ...)",
                remedy="keep the slices of one volume in the folder",
            )
        dropped += group[1:]
    if not dropped:
        return list(volume.frames), []
    lost = {id(frame) for frame in dropped}
    remark = Remark(
        "duplicate-slices",
        "slices that are there twice, with equal pixels, count once",
        got=f"{counted(len(dropped), 'copy')} ({dropped[0].name})",
    )
    return [frame for frame in volume.frames if id(frame) not in lost], [remark]


def _thickness(frame: DicomFrame) -> tuple[float, list[Remark]]:
    """The extent of a single slice along its normal."""
    for extent in (frame.step, frame.thickness):
        if extent > 0:
            return extent, []
    return 1.0, [Remark("no-slice-thickness", "the single slice has no thickness; 1 mm is taken", got=frame.name)]


def _distance(frames: Sequence[DicomFrame], depths: np.ndarray, where: Path) -> tuple[float, list[Remark]]:
    """The common distance of neighbouring slices in mm."""
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    distance = float(depths[-1] - depths[0]) / len(gaps)
    odd = int(np.abs(gaps - usual).argmax())
    drift = np.abs(depths - (depths[0] + distance * np.arange(len(depths))))
    even = abs(gaps[odd] - usual) <= _GAP_TOLERANCE * usual and drift.max() <= _DRIFT_TOLERANCE * usual
    unit = _position_unit(frames)
    rounded = not even and drift.max() <= unit + 1e-6 and unit <= _ROUNDED * distance
    if len(gaps) > 1 and not even and not rounded:
        missing = gaps[odd] > 1.5 * usual
        raise ImageError(
            "the DICOM slices are not evenly spaced" + ("; a slice seems to be missing" if missing else ""),
            where=where,
            got=f"{gaps[odd]:.3f} mm between slices {odd + 1} and {odd + 2} of {len(frames)}",
            expected=f"{usual:.3f} mm between all neighbouring slices",
            remedy=("add the missing slice" if missing else "remove what does not belong to the volume")
            + f" (between {frames[odd].name} at {_point_text(frames[odd])} mm and {frames[odd + 1].name}), "
            "or resample the series",
        )
    remarks = []
    uneven = float(np.abs(gaps - distance).max())
    if rounded:
        what = "the positions of slices are rounded in the header; slices are taken to lie evenly from first to last"
        got = f"{gaps.min():.4g} to {gaps.max():.4g} mm, mean {distance:.4g} mm"
        remarks.append(Remark("rounded-positions", what, got=got))
    elif uneven > _TOLD_UNEVENNESS * distance:
        remarks.append(
            Remark(
                "uneven-slices",
                "slices are not quite evenly spaced; their mean distance is taken",
                got=f"{gaps.min():.4g} to {gaps.max():.4g} mm, mean {distance:.4g} mm",
            )
        )
    said = frames[0].step
    if said > 0 and distance / said > 1.5 and abs(distance / said - round(distance / said)) < 0.05:
        remarks.append(
            Remark(
                "sparse-slices",
                "slices lie a multiple of the distance apart that the header says; the distance of positions is taken",
                got=f"{distance:.4g} mm, SpacingBetweenSlices {said:.4g} mm",
                remedy="check that no slices are missing",
            )
        )
    return distance, remarks


def _position_unit(frames: Sequence[DicomFrame]) -> float:
    """The unit, in mm along the normal, to which the positions of all frames are written; 0 where they are computed.

    A position is off by half of it at most, and so are the first and the last, between which slices are counted.
    """
    if not all(len(frame.decimals) == 3 for frame in frames):
        return 0.0
    decimals = np.max([frame.decimals for frame in frames], axis=0)
    return float(np.abs(frames[0].normal) @ 10.0**-decimals)


def _geometry(first: DicomFrame, distance: float) -> Geometry:
    """The grid that begins at a frame; world and array axes are turned to (z, y, x)."""
    assert first.orientation is not None
    assert first.position is not None
    assert first.spacing is not None
    along, down = first.orientation
    columns = np.array([first.normal, down, along])[:, ::-1].T
    return Geometry(
        spacing=(distance, *first.spacing),
        origin=_vector(np.array(first.position)[::-1]),
        direction=(_vector(columns[0]), _vector(columns[1]), _vector(columns[2])),
    )


def _shifts(frames: Sequence[DicomFrame]) -> np.ndarray:
    """How far each slice lies beside the first one, along columns and along rows, in mm."""
    along, down = np.asarray(frames[0].orientation)
    positions = np.array([frame.position for frame in frames])
    offsets = positions - positions[0]
    return np.stack([offsets @ down, offsets @ along], axis=1)


def _point_text(frame: DicomFrame) -> str:
    assert frame.position is not None
    return "(" + ", ".join(f"{part:.6g}" for part in frame.position) + ")"


def _vector(values: np.ndarray) -> Vector:
    z, y, x = (float(value) for value in values)
    return z, y, x
