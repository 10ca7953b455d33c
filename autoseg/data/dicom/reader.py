"""DICOM sources as images: a folder, a file, a DICOMDIR or a zip; one volume of those that it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Reading
from autoseg.data.dicom.agreement import check_agreement, check_concatenations
from autoseg.data.dicom.frames import DicomFrame, frames_of
from autoseg.data.dicom.headers import DicomHeader, read_header
from autoseg.data.dicom.pixels import same_pixels
from autoseg.data.dicom.sources import stored_objects
from autoseg.data.dicom.stack import Stack, make_stack, shear, shear_matters
from autoseg.data.dicom.untilt import untilted
from autoseg.data.dicom.values import stack_values
from autoseg.data.dicom.volumes import Volume, choose_volume, group_volumes
from autoseg.data.image import Image, Remark
from autoseg.errors import ImageError
from autoseg.log import counted

_IDENTITY = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality")


def read_dicom(path: Path, reading: Reading) -> Image:
    """Reads the volume or plane of a DICOM source.

    The frames of all its files are grouped into volumes and sorted by their positions; the distance of slices is that
    of their positions. Values are rescaled frame by frame (`stack_values`).

    Args:
        path: a folder (its files, with or without ending, and what a DICOMDIR in it lists), a file of one frame or of
            several, or a zip.
        reading: `series` chooses among several volumes, `untilt` allows sheared ones.

    Returns:
        Array (C, Z, Y, X), remarks on all that was assumed, and the identity of the series.

    Raises:
        ImageError: no image, several volumes, missing or uneven slices, no place or spacing, a tilted gantry, or files
            that are damaged or compressed in an unknown way.
    """
    volumes, remarks = source_volumes(path)
    volume, chosen = choose_volume(volumes, reading.series, path)
    image = volume_image(volume, path, untilt=reading.untilt)
    return replace(image, remarks=(*remarks, *chosen, *image.remarks))


def source_volumes(path: Path) -> tuple[list[Volume], tuple[Remark, ...]]:
    """All volumes of a DICOM source, and remarks on what lies there beside.

    Raises:
        ImageError: no image, files that are damaged, or missing parts of a concatenation.
    """
    headers, passed_over = _images(path)
    check_concatenations(headers, path)
    frames, copies = _without_copied_files([frame for header in headers for frame in frames_of(header)])
    return group_volumes(frames, same_pixels), (*passed_over, *copies)


def volume_image(volume: Volume, path: Path, *, untilt: bool) -> Image:
    """A volume of a DICOM source as an image.

    Args:
        volume: of `source_volumes`.
        path: of the source, for errors.
        untilt: resample a sheared stack.

    Raises:
        ImageError: as `read_dicom`.
    """
    check_agreement(volume.frames, path)
    stack = make_stack(volume, same_pixels, path)
    tilted = shear_matters(stack)
    if tilted and not untilt:
        farthest, angle = shear(stack)
        raise ImageError(
            "the stack is sheared (a tilted gantry): its slices do not lie straight above each other",
            where=path,
            got=f"{angle:.1f} degrees, {farthest:.1f} mm from the first slice to the farthest",
            expected="slices above each other",
            remedy="--untilt resamples it onto an upright grid",
        )
    array, noted = stack_values(stack)
    attributes = stack.frames[0].header.attributes
    identity = {keyword: text for keyword in _IDENTITY if (text := attributes.text(keyword))}
    image = Image(array, stack.geometry, (*stack.remarks, *noted), identity=identity)
    return untilted(image, stack) if tilted else replace(image, remarks=(*image.remarks, *_slight_shear(stack)))


def slice_indices(path: Path, reading: Reading) -> Mapping[tuple[str, int], int]:
    """Which frame became which slice of `read_dicom`: (SOP Instance UID, number of the frame from 1) -> z index.

    A file of one frame has the number 1; of copies one is there. Label objects refer to frames in this way.

    Raises:
        ImageError: as `read_dicom`.
    """
    volume, _ = choose_volume(source_volumes(path)[0], reading.series, path)
    frames = make_stack(volume, same_pixels, path).frames
    return {(frame.sop, frame.number + 1): index for index, frame in enumerate(frames)}


def _images(path: Path) -> tuple[list[DicomHeader], tuple[Remark, ...]]:
    """The images of a source, and a remark on what else lies there.

    Raises:
        ImageError: none.
    """
    headers = [read_header(stored) for stored in stored_objects(path)]
    images = [header for header in headers if header.is_image]
    others = Counter(header.object_name for header in headers if not header.is_image)
    names = ", ".join(f"{count} {name}" if count > 1 else name for name, count in others.items())
    if not images:
        raise ImageError(
            "the DICOM source holds no image",
            where=path,
            got=names or "no DICOM files",
            expected="slices, or a multi-frame image",
            remedy="put the DICOM slices directly into the folder" if path.is_dir() else "give the file with the image",
        )
    if not others:
        return images, ()
    what = "DICOM objects that are no images are passed over"
    return images, (Remark("no-images", what, got=names),)


def _without_copied_files(frames: list[DicomFrame]) -> tuple[list[DicomFrame], tuple[Remark, ...]]:
    """Frames without those of files that are there twice: with one SOP Instance UID, place and pixels."""
    by_name: dict[tuple[object, ...], list[DicomFrame]] = {}
    for frame in frames:
        named = frame.sop or id(frame.header)
        by_name.setdefault((named, frame.number, frame.tile, frame.position, frame.firm), []).append(frame)
    dropped = [copy for group in by_name.values() if len(group) > 1 and same_pixels(group) for copy in group[1:]]
    if not dropped:
        return frames, ()
    lost = {id(frame) for frame in dropped}
    remark = Remark(
        "duplicate-slices",
        "slices that are there twice, with equal pixels, count once",
        got=f"{counted(len(dropped), 'copy')} ({dropped[0].header.stored.name})",
    )
    return [frame for frame in frames if id(frame) not in lost], (remark,)


def _slight_shear(stack: Stack) -> tuple[Remark, ...]:
    farthest, angle = shear(stack)
    if not np.any(stack.shifts) or farthest <= 0.25 * min(stack.geometry.spacing[1:]):
        return ()
    return (
        Remark(
            "slight-shear",
            "slices lie a little beside each other; the stack is taken for an upright one",
            got=f"{farthest:.2g} mm over the whole stack, {angle:.2g} degrees",
        ),
    )
