"""The values that a stack's pixels mean: rescaled frame by frame, in the smallest type that holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.dicom.frames import DicomFrame
from autoseg.data.dicom.headers import damaged
from autoseg.data.dicom.pixels import stored_pixels
from autoseg.data.dicom.stack import Stack
from autoseg.data.dicom.value_types import first_type, narrowed, stored_range, with_room
from autoseg.data.image import Remark
from autoseg.log import counted

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MEASURED = frozenset({"CT", "PT", "NM", "MR", "RTDOSE"})
"""Modalities whose values are measurements: how they are shown on a screen does not change them."""

_INT64_END = 1 << 63


def stack_values(stack: Stack) -> tuple[np.ndarray, tuple[Remark, ...]]:
    """The values of a stack, and remarks on what was done to them.

    Whole slopes and intercepts give the smallest integers that hold all that the stored bits can mean (where that is
    wider than they are stored, all that occurs). Others give float32, rounded from float64, or float64 where float32
    loses digits or overflows. Pixels that are padding keep their value.

    Returns:
        Array (C, Z, Y, X): one channel of grey values, or red, green and blue.

    Raises:
        ImageError: pixels that cannot be decoded.
    """
    frames = stack.frames
    array: np.ndarray | None = None
    for index, pixels in _planes(frames):
        frame = frames[index]
        if array is None:  # only now it is known that there are pixels
            array = np.empty((frame.samples, len(frames), *frame.shape), first_type(frames, pixels))
        values = _rescaled(frame, pixels)
        array = with_room(array, values, pixels)
        array[:, index] = np.moveaxis(values, -1, 0) if values.ndim == 3 else values
    assert array is not None
    return narrowed(array, frames), _remarks(frames)


def _planes(frames: tuple[DicomFrame, ...]) -> Iterator[tuple[int, np.ndarray]]:
    """(index, pixels) with palettes turned to colours, tables applied, and MONOCHROME1 turned round."""
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    for index, pixels in stored_pixels(frames):
        frame = frames[index]
        if _photometric(frame) == "PALETTE COLOR":
            yield index, _looked_up(apply_color_lut, pixels, frame, frame.header.dataset)
            continue
        if _is_inverted(frame):
            pixels = _turned_round(frame, pixels)
        table = frame.rescale.table
        yield index, pixels if table is None else _looked_up(apply_modality_lut, pixels, frame, table)


def _looked_up(apply: Callable[..., np.ndarray], pixels: np.ndarray, frame: DicomFrame, table: Dataset) -> np.ndarray:
    """Pixels through a table, which may be damaged or missing."""
    try:
        return apply(pixels, table)
    except Exception as error:
        raise damaged(frame.header.stored.where, f"no sound table of values: {error}") from None


def _photometric(frame: DicomFrame) -> str:
    return frame.header.attributes.text("PhotometricInterpretation")


def _is_inverted(frame: DicomFrame) -> bool:
    return _photometric(frame) == "MONOCHROME1" and frame.modality not in _MEASURED


def _turned_round(frame: DicomFrame, pixels: np.ndarray) -> np.ndarray:
    """Low for high, within what the stored bits can hold."""
    if pixels.dtype.kind == "f":
        raise frame.header.attributes.unreadable("PhotometricInterpretation", "MONOCHROME1 of floating-point pixels")
    low, high = stored_range(frame, signed=pixels.dtype.kind == "i")
    turned: np.ndarray = low + high - pixels.astype(np.int64)
    fits = low <= int(turned.min()) and int(turned.max()) <= high
    return turned.astype(pixels.dtype) if fits else turned


def _rescaled(frame: DicomFrame, pixels: np.ndarray) -> np.ndarray:
    """Values in a type that holds them: as stored, int64, or float64."""
    slope, intercept = frame.rescale.slope, frame.rescale.intercept
    if frame.samples == 3 or frame.rescale.table is not None or (slope == 1 and intercept == 0):
        return pixels
    if pixels.dtype.kind in "iu" and frame.rescale.is_whole:
        largest = max(-int(pixels.min()), int(pixels.max()))
        if abs(int(slope)) * largest + abs(int(intercept)) < _INT64_END and abs(int(slope)) < _INT64_END:
            return pixels.astype(np.int64) * int(slope) + int(intercept)
    return pixels.astype(np.float64) * slope + intercept


def _remarks(frames: Sequence[DicomFrame]) -> tuple[Remark, ...]:
    """What is to be said of how slices are to be shown, once for all of them."""
    kinds = Counter((_photometric(frame), _is_inverted(frame)) for frame in frames)
    remarks = []
    for (photometric, inverted), count in kinds.items():
        got = f"{count} of {counted(len(frames), 'slice')}"
        if photometric == "PALETTE COLOR":
            remarks.append(Remark("palette-colour", "indices of a palette are turned to red, green and blue", got=got))
        elif inverted:
            what = "values that are shown dark when they are high (MONOCHROME1) are turned round"
            remarks.append(Remark("monochrome1", what, got, "train and predict with images of one kind"))
        elif photometric == "MONOCHROME1":
            what = "the image is to be shown with high values dark (MONOCHROME1); its values are measurements and stay"
            remarks.append(Remark("monochrome1", what, got))
    return tuple(remarks)
