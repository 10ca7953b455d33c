"""Number types that hold the values of all frames of a stack, by what the bits of each can hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoseg.data.dicom.frames import DicomFrame

_INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64)
_EXACT_BITS = 24  # of integers that float32 holds
_LARGEST_SINGLE = float(np.finfo(np.float32).max)


def stored_range(frame: DicomFrame, *, signed: bool | None = None) -> tuple[int, int]:
    """The least and the largest number that the stored bits of a frame can hold.

    Args:
        frame: of integers.
        signed: whether its pixels are; None takes what the header says.
    """
    top = frame.header.attributes
    allocated = top.whole("BitsAllocated") or 8
    bits = min(top.whole("BitsStored") or allocated, allocated)
    signed = bool(top.whole("PixelRepresentation")) if signed is None else signed
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def first_type(frames: Sequence[DicomFrame], pixels: np.ndarray) -> np.dtype:
    """A type for the values of all frames, as far as their headers tell; what does not fit is seen by `with_room`.

    Args:
        frames: of a stack.
        pixels: of the first one that is decoded.
    """
    plain = [frame for frame in frames if frame.rescale.table is None and frame.samples == 1]
    if pixels.dtype.kind == "f" or not plain:
        return pixels.dtype
    ranges = [(frame.rescale, stored_range(frame)) for frame in plain]
    if not all(rescale.is_whole for rescale, _ in ranges):
        largest = max(max(-low, high) for _, (low, high) in ranges)
        return np.dtype(np.float32 if largest < 1 << _EXACT_BITS else np.float64)
    ends = [int(rescale.slope) * end + int(rescale.intercept) for rescale, both in ranges for end in both]
    return _integers(min(ends), max(ends)) or np.dtype(np.float64)


def with_room(array: np.ndarray, values: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """The array, in a wider type where the values of one more frame do not fit.

    Integers stay what they are to the last digit; fractions may be rounded to float32, as long as the stored pixels
    that they come from need no more digits.

    Args:
        array: of all frames.
        values: of one of them.
        stored: its pixels before rescaling.
    """
    if array.dtype.kind == "f":
        if array.dtype == np.float64:
            return array
        wide = stored.dtype == np.float64 if stored.dtype.kind == "f" else _largest(stored) >= 1 << _EXACT_BITS
        return array.astype(np.float64) if wide or _largest(values) > _LARGEST_SINGLE else array
    if values.dtype.kind == "f":
        return array.astype(np.result_type(array.dtype, values.dtype))
    if np.can_cast(values.dtype, array.dtype):
        return array
    limits = np.iinfo(array.dtype)
    low, high = int(values.min()), int(values.max())
    if limits.min <= low and high <= limits.max:
        return array
    wider = _integers(min(low, int(limits.min)), max(high, int(limits.max))) or np.dtype(np.float64)
    return array.astype(wider)


def narrowed(array: np.ndarray, frames: Sequence[DicomFrame]) -> np.ndarray:
    """Integers that are wider than any of them is stored only because of what could occur, in the type that holds them.

    Args:
        array: of all frames.
        frames: of the stack.
    """
    allocated = max(frame.header.attributes.whole("BitsAllocated") or 8 for frame in frames)
    if array.dtype.kind not in "iu" or array.dtype.itemsize * 8 <= allocated:
        return array
    fitting = _integers(int(array.min()), int(array.max()))
    return array if fitting is None or fitting.itemsize >= array.dtype.itemsize else array.astype(fitting)


def _integers(low: int, high: int) -> np.dtype | None:
    """The smallest integers that hold both; None for none."""
    fitting = (dtype for dtype in _INTEGERS if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max)
    found = next(fitting, None)
    return None if found is None else np.dtype(found)


def _largest(values: np.ndarray) -> float:
    return max(-float(values.min()), float(values.max()))
