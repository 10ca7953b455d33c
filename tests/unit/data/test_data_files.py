"""Reading and writing against independent writers and readers (SimpleITK, Pillow, gzip)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data import files
from autoseg.data.dataset import Case
from autoseg.data.image import PLANE_SPACING, Geometry, Image
from autoseg.errors import ImageError

# Axes swapped and one flipped, so that a wrong axis order cannot pass; all numbers are exact in single precision.
DIRECTION_XYZ = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SPACING_XYZ = (0.5, 0.75, 3.0)
ORIGIN_XYZ = (10.0, -20.0, 30.0)
WITH_DIRECTION = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


def itk_volume(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_XYZ)
    image.SetOrigin(ORIGIN_XYZ)
    image.SetDirection(DIRECTION_XYZ)
    return image


def voxels(shape: tuple[int, ...], dtype: type = np.int16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("ending", WITH_DIRECTION)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_reads_what_simpleitk_wrote(tmp_path: Path, ending: str, dtype: type) -> None:
    array = voxels((4, 5, 6), dtype)
    sitk.WriteImage(itk_volume(array), str(tmp_path / f"x{ending}"), True)
    image = files.read_image(tmp_path / f"x{ending}")
    assert image.array.dtype == dtype
    assert np.array_equal(image.array, array[None])
    assert image.geometry.spacing == SPACING_XYZ[::-1]
    assert image.geometry.origin == ORIGIN_XYZ[::-1]
    assert image.geometry.dimension == 3


@pytest.mark.parametrize("ending", WITH_DIRECTION)
def test_world_position_of_a_voxel_is_simpleitks(tmp_path: Path, ending: str) -> None:
    itk_image = itk_volume(voxels((4, 5, 6)))
    sitk.WriteImage(itk_image, str(tmp_path / f"x{ending}"))
    geometry = files.read_image(tmp_path / f"x{ending}").geometry
    index = np.array([3, 1, 2])  # z, y, x
    world = np.asarray(geometry.origin) + np.asarray(geometry.direction) @ (index * geometry.spacing)
    assert world[::-1] == pytest.approx(itk_image.TransformIndexToPhysicalPoint((2, 1, 3)))


@pytest.mark.parametrize("ending", WITH_DIRECTION)
def test_simpleitk_reads_what_is_written(tmp_path: Path, ending: str) -> None:
    array = voxels((4, 5, 6))
    sitk.WriteImage(itk_volume(array), str(tmp_path / "in.mha"))
    image = files.read_image(tmp_path / "in.mha")
    files.write_image(tmp_path / "deep" / f"out{ending}", image)
    read = sitk.ReadImage(str(tmp_path / "deep" / f"out{ending}"))
    assert np.array_equal(sitk.GetArrayFromImage(read), array)
    assert read.GetSpacing() == SPACING_XYZ
    assert read.GetOrigin() == ORIGIN_XYZ
    assert read.GetDirection() == DIRECTION_XYZ


@pytest.mark.parametrize("ending", [".gipl", ".gipl.gz"])
def test_gipl_keeps_voxels_spacing_and_origin(tmp_path: Path, ending: str) -> None:
    array = voxels((4, 5, 6), np.uint8)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_XYZ)
    image.SetOrigin(ORIGIN_XYZ)
    sitk.WriteImage(image, str(tmp_path / f"x{ending}"))
    read = files.read_image(tmp_path / f"x{ending}")
    assert np.array_equal(read.array[0], array)
    assert (read.geometry.spacing, read.geometry.origin) == (SPACING_XYZ[::-1], ORIGIN_XYZ[::-1])


def test_gipl_refuses_several_channels(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="GIPL holds one channel"):
        files.write_image(tmp_path / "x.gipl", Image(voxels((2, 4, 5, 6)), Geometry()))


def test_fourth_axis_of_nifti_is_channels(tmp_path: Path) -> None:
    array = voxels((2, 4, 5, 6))
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(tmp_path / "x.nii.gz"))
    image = files.read_image(tmp_path / "x.nii.gz")
    assert np.array_equal(image.array, array)
    files.write_image(tmp_path / "y.nii.gz", image)
    assert sitk.ReadImage(str(tmp_path / "y.nii.gz")).GetDimension() == 4
    assert np.array_equal(files.read_image(tmp_path / "y.nii.gz").array, array)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize("shape", [(4, 5, 6, 2), (5, 6, 2)])
def test_vector_components_are_channels(tmp_path: Path, ending: str, shape: tuple[int, ...]) -> None:
    array = voxels(shape)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / f"x{ending}"))
    image = files.read_image(tmp_path / f"x{ending}")
    assert image.array.shape == ((2, 4, 5, 6) if len(shape) == 4 else (2, 1, 5, 6))
    assert np.array_equal(np.moveaxis(image.array, 0, -1).reshape(shape), array)
    files.write_image(tmp_path / f"y{ending}", image)
    assert np.array_equal(files.read_image(tmp_path / f"y{ending}").array, image.array)


def test_plane_nifti_has_one_slice(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(voxels((5, 6)))
    image.SetSpacing((0.5, 0.75))
    sitk.WriteImage(image, str(tmp_path / "x.nii.gz"))
    read = files.read_image(tmp_path / "x.nii.gz")
    assert read.array.shape == (1, 1, 5, 6)
    assert read.geometry == Geometry.plane((0.75, 0.5))
    assert read.geometry.spacing[0] == PLANE_SPACING


WRITABLE = [ending for ending in files.known_endings() if files.writable_ending(ending) == ending]


@pytest.mark.parametrize("ending", [ending for ending in WRITABLE if ending not in (".jpg", ".jpeg")])
def test_labels_survive_every_lossless_format(tmp_path: Path, ending: str) -> None:
    plane = ending in (".png", ".bmp")
    labels = np.random.default_rng(1).integers(0, 4, (1 if plane else 3, 5, 6))
    geometry = Geometry.plane() if plane else Geometry(spacing=(2.0, 0.5, 0.25))
    files.write_labels(tmp_path / f"x{ending}", labels, geometry)
    read = files.read_labels(tmp_path / f"x{ending}")
    assert read.array.dtype == np.uint8
    assert np.array_equal(read.array[0], labels)
    assert read.geometry == geometry
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "a temporary folder is left"


def test_wide_label_values_get_a_wide_type(tmp_path: Path) -> None:
    for top, dtype in ((255, np.uint8), (-1, np.int16), (1000, np.int16), (40000, np.uint16), (70000, np.int32)):
        labels = np.array([[[0, 1, top]]])
        files.write_labels(tmp_path / "x.nii.gz", labels, Geometry())
        read = files.read_labels(tmp_path / "x.nii.gz").array[0]
        assert read.dtype == dtype
        assert np.array_equal(read, labels)


def test_uncompressed_and_compressed_volumes_differ_in_size(tmp_path: Path) -> None:
    labels = np.zeros((20, 40, 40), np.uint8)
    for ending in (".nii.gz", ".nrrd", ".mha", ".tif"):
        files.write_labels(tmp_path / f"x{ending}", labels, Geometry())
        assert (tmp_path / f"x{ending}").stat().st_size < labels.nbytes / 4


def test_header_and_data_file_stay_together(tmp_path: Path) -> None:
    files.write_image(tmp_path / "x.mhd", Image(voxels((1, 4, 5, 6)), Geometry()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.mhd", "x.zraw"]


def test_jpeg_labels_unknown_endings_and_unfit_values_are_refused(tmp_path: Path) -> None:
    labels = np.zeros((1, 4, 4), np.uint8)
    with pytest.raises(ImageError, match="JPEG changes label values"):
        files.write_labels(tmp_path / "x.jpg", labels, Geometry.plane())
    with pytest.raises(ImageError, match="unknown ending"):
        files.write_labels(tmp_path / "x.npy", labels, Geometry.plane())
    (tmp_path / "x.npy").touch()
    with pytest.raises(ImageError, match="unknown ending"):
        files.read_image(tmp_path / "x.npy")
    with pytest.raises(ImageError, match=r"\.png cannot hold this image"):
        files.write_labels(tmp_path / "x.png", np.zeros((2, 4, 4), np.uint8), Geometry())
    with pytest.raises(ImageError, match=r"\.bmp cannot hold this image"):
        files.write_labels(tmp_path / "x.bmp", labels + np.uint16(300), Geometry.plane())
    assert not list(tmp_path.glob("x.[!n]*")), "a refused write leaves nothing"


def test_endings_and_stems() -> None:
    assert [files.ending_of(name) for name in ("a.NII.GZ", "a.b.nrrd", "a.ome.tif", "a.txt", ".png", "folder")] == [
        ".nii.gz", ".nrrd", ".ome.tif", "", "", "",
    ]  # fmt: skip
    assert [files.stem_of(name) for name in ("d/a.b.nii.gz", "a.gipl.gz", "1.2.3")] == ["a.b", "a", "1.2.3"]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".gipl", ".gipl.gz"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.98])
def test_truncated_file_is_an_error_with_its_name(tmp_path: Path, ending: str, part: float) -> None:
    path = tmp_path / f"x{ending}"
    noise = np.random.default_rng(0).integers(0, 255, (20, 20, 20)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), True)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ImageError, match="cannot be read") as caught:
        files.read_image(path)
    assert caught.value.where == str(path)
    assert caught.value.remedy


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="image file is missing"):
        files.read_image(tmp_path / "x.nii.gz")


def test_case_stacks_channel_files(tmp_path: Path) -> None:
    for channel, dtype in enumerate((np.uint8, np.float32)):
        sitk.WriteImage(itk_volume(voxels((4, 5, 6), dtype) + channel), str(tmp_path / f"x_{channel:04d}.nii.gz"))
    image = files.read_case(Case(id="x", images=(tmp_path / "x_0000.nii.gz", tmp_path / "x_0001.nii.gz")))
    assert image.array.shape == (2, 4, 5, 6)
    assert np.array_equal(image.array[1], image.array[0] + 1)


def test_case_with_channels_that_do_not_fit_is_an_error(tmp_path: Path) -> None:
    paths = tuple(tmp_path / f"x_000{channel}.nrrd" for channel in range(2))
    sitk.WriteImage(itk_volume(voxels((4, 5, 6))), str(paths[0]))
    sitk.WriteImage(itk_volume(voxels((4, 5, 7))), str(paths[1]))
    with pytest.raises(ImageError, match="different shapes"):
        files.read_case(Case(id="x", images=paths))
    other = itk_volume(voxels((4, 5, 6)))
    other.SetSpacing((0.5, 0.75, 3.1))
    sitk.WriteImage(other, str(paths[1]))
    with pytest.raises(ImageError, match="different spacings"):
        files.read_case(Case(id="x", images=paths))
    with pytest.raises(ImageError, match="no image files"):
        files.read_case(Case(id="x", images=()))


def test_labels_in_floating_point_are_whole_numbers_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.nii.gz"
    sitk.WriteImage(itk_volume(np.array([[[0.0, 1.0, 2.0]]], np.float32)), str(path))
    labels = files.read_labels(path).array
    assert labels.dtype == np.uint8
    assert labels.ravel().tolist() == [0, 1, 2]
    for wrong in (0.5, np.nan, np.inf, 1e12):
        sitk.WriteImage(itk_volume(np.array([[[0.0, 1.0, wrong]]], np.float32)), str(path))
        with pytest.raises(ImageError, match="not whole numbers"):
            files.read_labels(path)


def test_labels_with_different_channels_are_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(voxels((4, 5, 6, 3)), isVector=True), str(tmp_path / "x.nrrd"))
    with pytest.raises(ImageError, match="several channels that differ"):
        files.read_labels(tmp_path / "x.nrrd")
