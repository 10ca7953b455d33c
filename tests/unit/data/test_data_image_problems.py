"""What is told of an image as it was read: remarks, and intensities that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoseg.data.image import Geometry, Image, Remark
from autoseg.data.image_problems import problems_of_image

FILES = (Path("a_0000.nii.gz"), Path("a_0001.nii.gz"))


def noise(scale: float = 1.0, dtype: str = "float64") -> np.ndarray:
    return (np.random.default_rng(0).normal(100, 10, (4, 20, 20)) * scale).astype(dtype)


def found(*channels: np.ndarray, remarks: tuple[Remark, ...] = ()) -> list[tuple[str, str, str]]:
    image = Image(np.stack(channels), Geometry(), remarks)
    return [(one.code, one.severity, one.file) for one in problems_of_image(image, FILES[: len(channels)], ("CT",))]


def test_a_sound_image_has_none() -> None:
    assert found(noise(), noise(1e6)) == []


@pytest.mark.parametrize(("scale", "dtype"), [(1e300, "float64"), (1e30, "float32"), (1e17, "float32")])
def test_intensities_that_single_precision_cannot_hold_or_square(scale: float, dtype: str) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(noise(scale).astype(np.float32).std()), "statistics of these overflow"
    assert found(noise(), noise(scale, dtype)) == [("huge-intensities", "error", "a_0001.nii.gz")]


def test_intensities_that_it_can() -> None:
    assert np.isfinite(noise(1e15).astype(np.float32).std())
    assert found(noise(1e15)) == []


def test_values_that_are_not_finite_and_constant_channels() -> None:
    holed = noise()
    holed[0, 0, 0] = np.nan
    assert found(holed) == [("not-finite", "error", "a_0000.nii.gz")]
    assert found(noise(), np.ones((4, 20, 20))) == [("constant-image", "warning", "a_0001.nii.gz")]


def test_remarks_are_warnings_unless_they_need_nothing() -> None:
    remarks = Remark("gantry-tilt", "the stack is sheared", "9 mm"), Remark("labels-rounded", "rounded")
    assert found(noise(), remarks=remarks) == [
        ("gantry-tilt", "warning", "a_0000.nii.gz"),
        ("labels-rounded", "note", "a_0000.nii.gz"),
    ]
