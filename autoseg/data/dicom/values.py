"""The values that a stack's pixels mean: rescaled frame by frame, in the smallest type that holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.dicom.frames import DicomFrame
from autoseg.data.dicom.headers import damaged
from autoseg.data.dicom.pixels import stored_pixels
from autoseg.data.dicom.stack import Stack
from autoseg.data.image import Remark

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MEASURED = frozenset({"CT", "PT", "NM", "MR", "RTDOSE"})
"""Modalities whose values are measurements: how they are shown on a screen does not change them."""

_INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64)
_EXACT_BITS = 24  # of integers that float32 holds


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
    first = frames[0]
    array: np.ndarray | None = None
    whole, low, high = True, 0.0, 0.0
    for index, pixels in _planes(frames):
        if array is None:  # only now it is known that there are pixels
            dtype = _dtype(frames, pixels)
            array = np.empty((first.samples, len(frames), *first.shape), dtype)
            whole = dtype.kind in "iu"
        values = _rescaled(frames[index], pixels, array.dtype)
        if not whole:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            if array.dtype == np.float32 and max(-low, high) > np.finfo(np.float32).max:
                array = array.astype(np.float64)
        array[:, index] = np.moveaxis(values, -1, 0) if values.ndim == 3 else values
    assert array is not None
    return _narrowed(array, first), _remarks(first)


def _planes(frames: tuple[DicomFrame, ...]) -> Iterator[tuple[int, np.ndarray]]:
    """(index, pixels) with palettes turned to colours, tables applied, and MONOCHROME1 turned round."""
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    for index, pixels in stored_pixels(frames):
        frame = frames[index]
        if _photometric(frame) == "PALETTE COLOR":
            yield index, _looked_up(apply_color_lut, pixels, frame, frame.header.dataset)
            continue
        if _is_inverted(frame):
            low, high = _stored_range(frame, pixels)
            pixels = (int(low + high) - pixels.astype(np.int64)).astype(pixels.dtype)
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


def _stored_range(frame: DicomFrame, pixels: np.ndarray) -> tuple[int, int]:
    """What the stored bits can hold."""
    if pixels.dtype.kind == "b":
        return 0, 1
    top = frame.header.attributes
    bits = min(top.whole("BitsStored") or 8 * pixels.dtype.itemsize, 8 * pixels.dtype.itemsize)
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if pixels.dtype.kind == "i" else (0, (1 << bits) - 1)


def _dtype(frames: tuple[DicomFrame, ...], pixels: np.ndarray) -> np.dtype:
    """A type that holds the values of all frames, by what the bits of the first one can hold."""
    if pixels.dtype.kind == "f":
        return pixels.dtype
    if frames[0].samples == 3 or any(frame.rescale.table is not None for frame in frames):
        return pixels.dtype
    low, high = _stored_range(frames[0], pixels)
    if not all(frame.rescale.is_whole for frame in frames):
        return np.dtype(np.float32 if max(-low, high) < 1 << _EXACT_BITS else np.float64)
    ends = [end * frame.rescale.slope + frame.rescale.intercept for frame in frames for end in (low, high)]
    for dtype in _INTEGERS:
        if np.iinfo(dtype).min <= min(ends) and max(ends) <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    return np.dtype(np.float64)


def _rescaled(frame: DicomFrame, pixels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    slope, intercept = frame.rescale.slope, frame.rescale.intercept
    if frame.samples == 3 or frame.rescale.table is not None or (slope == 1 and intercept == 0):
        return pixels
    if dtype.kind in "iu":
        return pixels.astype(dtype) * dtype.type(int(slope)) + dtype.type(int(intercept))
    return pixels.astype(np.float64) * slope + intercept


def _narrowed(array: np.ndarray, first: DicomFrame) -> np.ndarray:
    """Integers that are wider than they are stored only because of what could occur."""
    allocated = first.header.attributes.whole("BitsAllocated") or 8
    if array.dtype.kind not in "iu" or array.dtype.itemsize * 8 <= allocated:
        return array
    low, high = int(array.min()), int(array.max())
    fitting = next(dtype for dtype in _INTEGERS if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max)
    return array if np.dtype(fitting).itemsize >= array.dtype.itemsize else array.astype(fitting)


def _remarks(first: DicomFrame) -> tuple[Remark, ...]:
    photometric = _photometric(first)
    if photometric == "PALETTE COLOR":
        return (Remark("palette-colour", "indices of a palette are turned to red, green and blue"),)
    if photometric != "MONOCHROME1":
        return ()
    if _is_inverted(first):
        return (
            Remark(
                "monochrome1",
                "values that are shown dark when they are high (MONOCHROME1) are turned round",
                remedy="train and predict with images of one kind",
            ),
        )
    what = "the image is to be shown with high values dark (MONOCHROME1); its values are measurements and stay"
    return (Remark("monochrome1", what),)
