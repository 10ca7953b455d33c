"""DICOM segmentations (SEG) as label images: frames by segment and place (DICOM PS3.3, A.51 and C.8.20)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.dicom.belonging import check_belongs, identity_of
from autoseg.data.dicom.frame_grid import FrameGrid, frame_grid, functional_group
from autoseg.data.dicom.headers import DicomHeader, read_with_pixels
from autoseg.data.image import Image, Remark, Segment
from autoseg.data.segments import in_channels
from autoseg.errors import ImageError

if TYPE_CHECKING:
    from pydicom import Dataset

_MOST_VOXELS = 1 << 34  # of a grid; more is a damaged header


@dataclass(frozen=True)
class _Frames:
    """The frames of an object.

    Attributes:
        pixels: (F, Y, X) as stored.
        grid: where they lie.
        numbers: segment of each frame; empty for a label map, whose pixels have the segments' numbers.
        names: segment number -> name.
    """

    pixels: np.ndarray
    grid: FrameGrid
    numbers: tuple[int, ...]
    names: dict[int, str]


def read_segmentation(header: DicomHeader, image: Image | None) -> Image:
    """The label image of a segmentation: binary, fractional, or a label map.

    Frames are placed by their plane positions; planes between them that have none are empty. A fractional segmentation
    has the voxels of at least half its largest value.

    Args:
        header: of the object.
        image: the one that is labelled; its distance of slices helps to see which planes have no frame.

    Returns:
        Array (L, Z, Y, X) with segments named by their labels, of which those that overlap lie in several channels.

    Raises:
        ImageError: no places, planes that are not stacked evenly, segments that are not described, two frames for one
            segment and place, or an image of another patient or frame of reference.
    """
    dataset, path = header.dataset, Path(header.stored.where)
    kind = str(dataset.get("SegmentationType", "")).upper()
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise _unusable(path, "its type is not known", kind or "no SegmentationType", "BINARY, FRACTIONAL or LABELMAP")
    identity = identity_of(dataset)
    remarks = list(check_belongs(identity, image, path))
    names = {int(item.SegmentNumber): _name(item) for item in dataset.get("SegmentSequence") or ()}
    if not names:
        raise _unusable(path, "it describes no segment", "no SegmentSequence", "one item for each segment")
    grid = frame_grid(dataset, path, image)
    if np.prod(grid.shape, dtype=float) > _MOST_VOXELS:
        raise _unusable(path, "its frames are strewn too far", f"{grid.shape} (z, y, x)", "places of one image")
    pixels = np.asarray(read_with_pixels(header.stored).pixel_array).reshape(len(grid.slices), *grid.shape[1:])
    if kind == "LABELMAP":
        array, segments = _label_map(_Frames(pixels, grid, (), names), dataset, path)
        return Image(array, grid.geometry, tuple(remarks), segments, identity)
    frames = _Frames(_inside(pixels, dataset, kind), grid, _segment_numbers(dataset, names, path), names)
    if kind == "FRACTIONAL":
        remarks.append(
            Remark(
                "fractional-segmentation",
                "the segmentation is fractional; voxels of at least half its largest value are in a segment",
                got=str(dataset.get("SegmentationFractionalType", "")) or None,
            )
        )
    array, segments = in_channels(grid.shape, _masks(frames, path), len(names))
    return Image(array, grid.geometry, tuple(remarks), segments, identity)


def _name(item: Dataset) -> str:
    return str(item.get("SegmentLabel") or "").strip() or f"Segment {int(item.SegmentNumber)}"


def _inside(pixels: np.ndarray, dataset: Dataset, kind: str) -> np.ndarray:
    if kind == "BINARY":
        return pixels != 0
    largest = int(dataset.get("MaximumFractionalValue") or 255)
    return pixels.astype(np.uint32) * 2 >= largest


def _segment_numbers(dataset: Dataset, names: dict[int, str], path: Path) -> tuple[int, ...]:
    numbers = []
    for frame in range(int(dataset.get("NumberOfFrames") or 1)):
        item = functional_group(dataset, frame, "SegmentIdentificationSequence")
        number = None if item is None else int(item.ReferencedSegmentNumber)
        if number not in names:
            raise _unusable(
                path, "a frame is of no segment that is described", f"frame {frame + 1}: {number}", f"{sorted(names)}"
            )
        numbers.append(number)
    return tuple(numbers)


def _masks(frames: _Frames, path: Path) -> Iterator[tuple[str, tuple[slice, ...], np.ndarray]]:
    for number, name in sorted(frames.names.items()):
        own = [frame for frame, of in enumerate(frames.numbers) if of == number]
        slices = [frames.grid.slices[frame] for frame in own]
        _check_once(slices, f"of segment {number}", path)
        first, last = min(slices, default=0), max(slices, default=-1)
        mask = np.zeros((last - first + 1, *frames.grid.shape[1:]), bool)
        for frame, level in zip(own, slices, strict=True):
            mask[level - first] = frames.pixels[frame]
        yield name, (slice(first, last + 1), slice(None), slice(None)), mask


def _label_map(frames: _Frames, dataset: Dataset, path: Path) -> tuple[np.ndarray, tuple[Segment, ...]]:
    _check_once(frames.grid.slices, "", path)
    array = np.zeros(frames.grid.shape, frames.pixels.dtype)
    array[list(frames.grid.slices)] = frames.pixels
    padding = dataset.get("PixelPaddingValue")
    if padding is not None and int(padding) not in frames.names:
        array[array == int(padding)] = 0
    if strangers := sorted(set(np.unique(array).tolist()) - {0, *frames.names}):
        raise _unusable(path, "pixels have numbers of no segment", f"{strangers[:10]}", f"{sorted(frames.names)}")
    segments = (Segment(name, 0, number) for number, name in sorted(frames.names.items()) if number != 0)
    return array[None], tuple(segments)


def _check_once(slices: Sequence[int], which: str, path: Path) -> None:
    if len(set(slices)) < len(slices):
        raise _unusable(
            path,
            "several frames have one place",
            f"{len(slices)} frames {which} in {len(set(slices))} places".replace("  ", " "),
            "one frame in each place",
        )


def _unusable(path: Path, what: str, got: str, expected: str) -> ImageError:
    return ImageError(
        f"the DICOM segmentation cannot be used: {what}",
        where=path,
        got=got,
        expected=expected,
        remedy="export it anew, or convert it to NIfTI",
    )
