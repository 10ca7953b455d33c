"""A folder of masks, one file a structure, is the labels of a case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.files import is_label_folder, read_labels, read_raw_labels
from autoseg.data.labels import LabelScheme
from autoseg.errors import ImageError

SHAPE = (4, 5, 6)


def write_mask(path: Path, array: np.ndarray, origin: tuple[float, float, float] = (1, 2, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetOrigin(origin)
    image.SetSpacing((0.5, 0.75, 2))
    sitk.WriteImage(image, str(path))


def box(start: int, stop: int, value: int = 1) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, :, start:stop] = value
    return mask


def test_masks_are_segments_named_by_their_files(tmp_path: Path) -> None:
    folder = tmp_path / "case_7"
    for name, mask in (("liver", box(0, 4)), ("tumour", box(2, 3, 255)), ("spleen", box(5, 6))):
        write_mask(folder / f"{name}.nii.gz", mask)
    (folder / "._liver.nii.gz").write_bytes(b"left behind")
    (folder / "notes.txt").write_text("about them")
    labels = read_raw_labels(folder)
    masks = {segment.name: labels.array[segment.channel] == segment.value for segment in labels.segments}
    assert labels.geometry.origin == pytest.approx((3, 2, 1))
    assert len(labels.array) == 2
    np.testing.assert_array_equal(masks["liver"], box(0, 4))
    np.testing.assert_array_equal(masks["tumour"], box(2, 3))
    np.testing.assert_array_equal(masks["spleen"], box(5, 6))
    scheme = LabelScheme(names={"background": 0}, regions={"Liver": (1, 2), "Tumour": (2,), "Spleen": (5,)})
    assert read_labels(folder, scheme=scheme).array[0, 1, 0].tolist() == [1, 1, 2, 1, 0, 5]


@pytest.mark.parametrize("mark", ["_", "-"])
def test_the_cases_name_before_all_names_is_left_out(tmp_path: Path, mark: str) -> None:
    for name in ("liver", "left_kidney"):
        write_mask(tmp_path / "p-01" / f"p-01{mark}{name}.nii.gz", box(0, 1))
    assert [segment.name for segment in read_raw_labels(tmp_path / "p-01").segments] == ["left_kidney", "liver"]


def test_masks_of_another_grid_are_refused(tmp_path: Path) -> None:
    write_mask(tmp_path / "case" / "a.nii.gz", box(0, 4))
    write_mask(tmp_path / "case" / "b.nii.gz", box(0, 4), origin=(1.1, 2, 3))
    with pytest.raises(ImageError, match="different grids") as caught:
        read_raw_labels(tmp_path / "case")
    assert (Path(str(caught.value.where)).name, caught.value.got) == ("b.nii.gz", "places that differ by 0.20 voxels")
    write_mask(tmp_path / "case" / "b.nii.gz", box(0, 4)[:3])
    with pytest.raises(ImageError, match="different grids"):
        read_raw_labels(tmp_path / "case")


def test_a_mask_has_one_value(tmp_path: Path) -> None:
    write_mask(tmp_path / "case" / "organs.nii.gz", box(0, 4) + box(3, 5, 2))
    with pytest.raises(ImageError, match="several values") as caught:
        read_raw_labels(tmp_path / "case")
    assert caught.value.got == "1, 2, 3"
    write_mask(tmp_path / "other" / "organs.nii.gz", box(0, 4).astype(np.float32) * np.float32(0.4))
    with pytest.raises(ImageError, match="not whole numbers"):
        read_raw_labels(tmp_path / "other")


def test_a_folder_without_images_is_no_label(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("text")
    assert not is_label_folder(tmp_path / "notes")
    assert not is_label_folder(tmp_path / "nothing")
    with pytest.raises(ImageError):
        read_raw_labels(tmp_path / "notes")
