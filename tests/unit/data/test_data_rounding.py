"""Label values in floating point: what is whole, what is whole but for rounding, and what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoseg.data.image import Geometry, Image
from autoseg.data.rounding import whole_labels, whole_numbers
from autoseg.errors import ImageError

PATH = Path("labels.nii.gz")


def an_image(*values: float, dtype: str = "float64") -> Image:
    return Image(np.array(values, dtype).reshape(1, 1, 1, -1), Geometry())


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ((0.0, 3.0000457763671875, 5.999999998603016), "float64", [0, 3, 6]),
        ((0.0, 3.0000458, -1e-7), "float32", [0, 3, 0]),
        ((0.0, 3.0009, -2.0009), "float32", [0, 3, -2]),
        ((49999.996, 50000.0, 16777217.0), "float32", [50000, 50000, 16777216]),
        ((np.nextafter(np.float32(70000), np.float32(0)), 1.0), "float32", [70000, 1]),
    ],
)
def test_values_off_by_rounding_are_rounded_with_a_remark(
    values: tuple[float, ...], dtype: str, expected: list[int]
) -> None:
    image = whole_labels(an_image(*values, dtype=dtype), PATH)
    assert image.array.dtype.kind in "iu"
    assert image.array.ravel().tolist() == expected
    (remark,) = image.remarks
    assert remark.code == "labels-rounded"
    off = next(value for value in np.array(values, dtype) if value != np.rint(value))
    assert str(off) in (remark.got or "")


def test_whole_values_are_not_remarked() -> None:
    image = whole_labels(an_image(0.0, 1.0, 200.0), PATH)
    assert (image.array.dtype, image.array.ravel().tolist(), image.remarks) == (np.uint8, [0, 1, 200], ())
    assert whole_labels(an_image(0, 7, dtype="int16"), PATH).remarks == ()


@pytest.mark.parametrize(
    ("value", "digits"),
    [(0.9882, "0.9882"), (1.0011, "1.0011"), (2.99, "2.99"), (1.00123456789, "1.00123456789"), (np.nan, "nan"),
     (np.inf, "inf"), (3e9, "3000000000.0"), (-3e9, "-3000000000.0")],
)  # fmt: skip
def test_others_are_refused_with_all_their_digits(value: float, digits: str) -> None:
    with pytest.raises(ImageError, match="not whole numbers") as caught:
        whole_numbers(np.array([0.0, 1.0, value, value]), PATH)
    assert caught.value.got == f"{digits} (2 voxels)"


def test_a_coarse_type_is_no_excuse() -> None:
    # at 70000 single precision has steps of 1/128, so that a sixteenth is no rounding
    with pytest.raises(ImageError, match="not whole"):
        whole_numbers(np.array([70000.0625], np.float32), PATH)
    with pytest.raises(ImageError, match="not whole"):
        whole_numbers(np.array([1000.5], np.float16), PATH)
