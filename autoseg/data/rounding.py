"""Label values as whole numbers: what files store as floating point, and what is whole but for rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autoseg.data.image import Image, Remark
from autoseg.errors import ImageError
from autoseg.log import counted

_TOLERANCE = 1e-3
"""How far a value may lie from a whole number: far more than rounding makes, far less than interpolation does."""

_STEPS = 4
"""Steps between neighbouring numbers of the file's type that count as rounding, where these are coarser."""

_COARSEST = 1e-2
"""Beyond this nothing is taken for rounding, however coarse the type is."""


def whole_labels(image: Image, path: Path) -> Image:
    """A label image with integer values; a remark says where values were whole but for rounding.

    Raises:
        ImageError: as `whole_numbers`.
    """
    array = whole_numbers(image.array, path)
    off = image.array[array != image.array] if image.array.dtype.kind == "f" else image.array[:0]
    if not off.size:
        return image.with_array(array)
    remark = Remark(
        code="labels-rounded",
        what="label values are whole numbers but for rounding, and were rounded",
        got=_examples(off),
    )
    return Image(array, image.geometry, (*image.remarks, remark), image.segments, image.identity)


def whole_numbers(array: np.ndarray, path: Path) -> np.ndarray:
    """Label values as integers.

    Integer arrays pass; floating-point values are converted if they are whole numbers or off by no more than rounding
    makes: a thousandth, or four steps of the array's type where these are wider, but never more than a hundredth.

    Raises:
        ImageError: fractional values, NaN, infinities, or values beyond 32 bits.
    """
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    with np.errstate(over="ignore", invalid="ignore"):  # half precision does not reach the limits
        inside = (array >= -(2.0**31)) & (array < 2.0**31)
    if not inside.all():
        raise _refusal("label values are not whole numbers of at most 32 bits", array[~inside], path)
    nearest = np.rint(array)
    if not np.array_equal(nearest, array):
        allowed = np.clip(_STEPS * np.spacing(np.abs(array)), _TOLERANCE, _COARSEST)
        wrong = np.abs(array - nearest) > allowed
        if wrong.any():
            raise _refusal("label values are not whole numbers", array[wrong], path)
    return smallest_integers(nearest.astype(np.int32))


def smallest_integers(labels: np.ndarray) -> np.ndarray:
    """Integers or bool in the smallest of uint8, int16, uint16 and int32 that holds them; larger ones as they are."""
    if labels.dtype in (np.uint8, np.bool_) or not labels.size:
        return labels.astype(np.uint8, copy=False)
    low, high = int(labels.min()), int(labels.max())
    for dtype in (np.uint8, np.int16, np.uint16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return labels.astype(dtype, copy=False)
    return labels


def _refusal(subject: str, values: np.ndarray, path: Path) -> ImageError:
    return ImageError(
        subject,
        where=path,
        got=_examples(values),
        expected="whole numbers",
        remedy="write the labels with an integer type (was the file resampled with interpolation?)",
    )


def _examples(values: np.ndarray) -> str:
    """The first different values with all their digits, and how many voxels there are."""
    shown = [str(value) for value in np.unique(values)[:5]]
    return f"{', '.join(shown)} ({counted(values.size, 'voxel')})"
