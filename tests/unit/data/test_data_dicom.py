"""A folder of DICOM slices is one image. The slices are written by SimpleITK."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.dicom.storage import is_dicom_folder
from autoseg.data.files import read_image
from autoseg.errors import ImageError

THICKNESS = 2.5


def write_series(
    folder: Path, array: np.ndarray, *, series: int = 1, slices: Iterable[int] | None = None, ending: str = ".dcm"
) -> None:
    """Writes slices of a (Z, Y, X) array, in reversed file order, with pixel spacing 0.5 (x) and 0.75 (y) mm."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    for z in range(len(array)) if slices is None else slices:
        image = sitk.GetImageFromArray(array[z][None])
        image.SetSpacing((0.5, 0.75, THICKNESS))
        image.SetMetaData("0008|0060", "CT")
        image.SetMetaData("0020|000d", "1.2.826.0.1.3680043.2.1125.1")
        image.SetMetaData("0020|000e", f"1.2.826.0.1.3680043.2.1125.1.{series}")
        image.SetMetaData("0008|0018", f"1.2.826.0.1.3680043.2.1125.1.{series}.{z + 1}")
        image.SetMetaData("0020|0032", f"10\\20\\{30 + z * THICKNESS}")
        image.SetMetaData("0020|0037", "1\\0\\0\\0\\1\\0")
        image.SetMetaData("0020|0013", str(z + 1))
        writer.SetFileName(str(folder / f"s{series}_{99 - z:02d}{ending}"))
        writer.Execute(image)


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)


@pytest.mark.parametrize("ending", [".dcm", ""])
def test_series_is_a_volume_in_the_order_of_positions(tmp_path: Path, array: np.ndarray, ending: str) -> None:
    write_series(tmp_path / "case", array, ending=ending)
    assert is_dicom_folder(tmp_path / "case")
    image = read_image(tmp_path / "case")
    assert np.array_equal(image.array[0], array)
    assert image.geometry.spacing == pytest.approx((THICKNESS, 0.75, 0.5))
    assert image.geometry.origin == pytest.approx((30, 20, 10))


def test_several_series_are_named(tmp_path: Path, array: np.ndarray) -> None:
    write_series(tmp_path, array, series=1)
    write_series(tmp_path, array, series=2)
    with pytest.raises(ImageError, match="holds several volumes") as caught:
        read_image(tmp_path)
    assert "1125.1.1" in str(caught.value)
    assert "1125.1.2" in str(caught.value)


def test_missing_slice_is_an_error(tmp_path: Path, array: np.ndarray) -> None:
    write_series(tmp_path, array, slices=(0, 1, 3, 4))
    with pytest.raises(ImageError, match="a slice seems to be missing") as caught:
        read_image(tmp_path)
    assert caught.value.got == "5.000 mm between slices 2 and 3 of 4"
    assert caught.value.expected is not None
    assert "2.500 mm" in caught.value.expected


def test_folder_without_dicom_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing", encoding="utf-8")
    assert not is_dicom_folder(tmp_path)
    with pytest.raises(ImageError, match="holds no image"):
        read_image(tmp_path)
