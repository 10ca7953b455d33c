"""Pictures and TIFF against files of scikit-image, Pillow and tifffile."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import skimage.io
import tifffile
from PIL import Image as Picture

from autoseg.data.dataset import Case
from autoseg.data.files import read_case, read_image, read_labels, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.errors import ImageError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (8, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (8, 9, 3), dtype=np.uint8)
VOLUME = RNG.integers(0, 60000, (4, 8, 9), dtype=np.uint16)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".tiff"])
def test_grey_and_colour_pictures(tmp_path: Path, ending: str) -> None:
    for array, channels in ((GREY, GREY[None]), (COLOUR, np.moveaxis(COLOUR, -1, 0))):
        skimage.io.imsave(tmp_path / f"x{ending}", array, check_contrast=False)
        image = read_image(tmp_path / f"x{ending}")
        assert image.geometry == Geometry.plane()
        assert np.array_equal(image.array, channels[:, None])


def test_jpeg_is_close(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    Picture.fromarray(smooth).save(tmp_path / "x.jpg", quality=95)
    image = read_image(tmp_path / "x.jpg")
    assert image.array.shape == (1, 1, 64, 64)
    assert np.abs(image.array[0, 0].astype(int) - smooth).max() < 8


def test_equal_channels_stay_three(tmp_path: Path) -> None:
    Picture.fromarray(np.repeat(GREY[..., None], 3, axis=-1)).save(tmp_path / "x.png")
    assert len(read_image(tmp_path / "x.png").array) == 3


def test_alpha_is_dropped_if_it_says_nothing(tmp_path: Path) -> None:
    alpha = np.full_like(GREY, 255)
    Picture.fromarray(np.dstack([COLOUR, alpha]), "RGBA").save(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png").array[:, 0], np.moveaxis(COLOUR, -1, 0))
    Picture.fromarray(np.dstack([COLOUR, GREY]), "RGBA").save(tmp_path / "x.png")
    assert len(read_image(tmp_path / "x.png").array) == 4
    Picture.fromarray(np.dstack([GREY, alpha]), "LA").save(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png").array, GREY[None, None])


def test_sixteen_bits_survive(tmp_path: Path) -> None:
    grey = VOLUME[0]
    skimage.io.imsave(tmp_path / "grey.png", grey, check_contrast=False)
    assert np.array_equal(read_image(tmp_path / "grey.png").array[0, 0], grey)
    colour = np.moveaxis(VOLUME[:3], 0, -1)
    sitk.WriteImage(sitk.GetImageFromArray(colour, isVector=True), str(tmp_path / "rgb.png"))
    assert np.array_equal(read_image(tmp_path / "rgb.png").array[:, 0], VOLUME[:3])


def test_palette_is_colours_for_images_and_indices_for_labels(tmp_path: Path) -> None:
    indices = (GREY % 3).astype(np.uint8)
    picture = Picture.fromarray(indices, "P")
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 7]], np.uint8)
    picture.putpalette(palette.ravel().tolist())
    picture.save(tmp_path / "x.png")
    assert np.array_equal(read_labels(tmp_path / "x.png").array[0, 0], indices)
    assert np.array_equal(np.moveaxis(read_image(tmp_path / "x.png").array[:, 0], 0, -1), palette[indices])


def test_black_and_white_picture_has_values_0_and_1(tmp_path: Path) -> None:
    Picture.fromarray(GREY > 100).save(tmp_path / "x.png")
    assert np.array_equal(read_labels(tmp_path / "x.png").array[0, 0], GREY > 100)


def test_label_stored_as_rgb_is_one_channel(tmp_path: Path) -> None:
    labels = (GREY % 3).astype(np.uint8)
    Picture.fromarray(np.repeat(labels[..., None], 3, axis=-1)).save(tmp_path / "x.png")
    assert np.array_equal(read_labels(tmp_path / "x.png").array, labels[None, None])
    Picture.fromarray(COLOUR).save(tmp_path / "y.png")
    with pytest.raises(ImageError, match="several channels that differ"):
        read_labels(tmp_path / "y.png")


def test_grey_picture_among_colour_ones_and_the_other_way(tmp_path: Path) -> None:
    Picture.fromarray(GREY).save(tmp_path / "grey.png")
    Picture.fromarray(np.repeat(GREY[..., None], 3, axis=-1)).save(tmp_path / "equal.png")
    Picture.fromarray(COLOUR).save(tmp_path / "colour.png")

    def channels(name: str, expected: int | None) -> int:
        return len(read_case(Case(id=name, images=(tmp_path / f"{name}.png",)), expected).array)

    assert channels("grey", None) == 1
    assert channels("grey", 3) == 3
    assert channels("equal", 1) == 1
    assert channels("colour", 1) == 3, "real colours are not thrown away"


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.7])
def test_truncated_picture_is_an_error(tmp_path: Path, ending: str, part: float) -> None:
    path = tmp_path / f"x{ending}"
    Picture.fromarray(RNG.integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(ImageError, match="cannot be read") as caught:
        read_image(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("slices", [2, 3, 4, 7])
def test_multi_page_tiff_is_a_volume(tmp_path: Path, slices: int) -> None:
    volume = RNG.integers(0, 60000, (slices, 8, 9), dtype=np.uint16)
    pages = [Picture.fromarray(page) for page in volume]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    tifffile.imwrite(tmp_path / "y.tif", volume, photometric="minisblack")
    tifffile.imwrite(tmp_path / "z.tif", volume, photometric="minisblack", planarconfig="separate")
    for name in "xyz":
        image = read_image(tmp_path / f"{name}.tif")
        assert image.geometry == Geometry()
        assert np.array_equal(image.array[0], volume)


def test_spacing_from_imagej_tags(tmp_path: Path) -> None:
    metadata = {"spacing": 2.0, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "x.tif", VOLUME, imagej=True, resolution=(2.0, 4.0), metadata=metadata)
    assert read_image(tmp_path / "x.tif").geometry.spacing == pytest.approx((2e-3, 0.25e-3, 0.5e-3))


def test_spacing_and_channels_from_ome_tags(tmp_path: Path) -> None:
    metadata = {"axes": "CZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0}
    array = np.stack([VOLUME, VOLUME + np.uint16(1)])
    tifffile.imwrite(tmp_path / "x.ome.tif", array, metadata=metadata)  # micrometres by default
    image = read_image(tmp_path / "x.ome.tif")
    assert image.geometry.spacing == pytest.approx((2e-3, 0.25e-3, 0.5e-3))
    assert np.array_equal(image.array, array)


def test_spacing_from_resolution_tags_counts_for_volumes_only(tmp_path: Path) -> None:
    options = {"resolution": (20.0, 40.0), "resolutionunit": "CENTIMETER", "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "x.tif", VOLUME, **options)
    assert read_image(tmp_path / "x.tif").geometry.spacing == pytest.approx((0.25, 0.25, 0.5))
    tifffile.imwrite(tmp_path / "y.tif", GREY, **options)
    assert read_image(tmp_path / "y.tif").geometry == Geometry.plane()


def test_sidecar_spacing_wins_and_omits_the_channel(tmp_path: Path) -> None:
    metadata = {"spacing": 2.0, "unit": "mm", "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "x_0000.tif", VOLUME, imagej=True, metadata=metadata)
    (tmp_path / "x.json").write_text(json.dumps({"spacing": [3, 0.7, 0.6]}), encoding="utf-8")
    assert read_image(tmp_path / "x_0000.tif").geometry.spacing == (3, 0.7, 0.6)
    for wrong in ('{"spacing": [1, 2]', '{"spacing": [0, 1, 1]}', '{"spacing": "1"}', '{"space": [1, 1, 1]}', "[]"):
        (tmp_path / "x.json").write_text(wrong, encoding="utf-8")
        with pytest.raises(ImageError, match="side-car of the TIFF does not give a spacing"):
            read_image(tmp_path / "x_0000.tif")


def test_tiff_in_lzw_compression(tmp_path: Path) -> None:
    Picture.fromarray(GREY).save(tmp_path / "x.tif", compression="tiff_lzw")
    assert np.array_equal(read_image(tmp_path / "x.tif").array[0, 0], GREY)
    pages = [Picture.fromarray(page) for page in (VOLUME // 256).astype(np.uint8)]
    pages[0].save(tmp_path / "v.tif", compression="tiff_lzw", save_all=True, append_images=pages[1:])
    assert np.array_equal(read_image(tmp_path / "v.tif").array[0], VOLUME // 256)
    Picture.fromarray(COLOUR).save(tmp_path / "c.tif", compression="tiff_lzw")
    assert np.array_equal(np.moveaxis(read_image(tmp_path / "c.tif").array[:, 0], 0, -1), COLOUR)


def test_time_series_is_refused(tmp_path: Path) -> None:
    array = np.stack([VOLUME, VOLUME])
    tifffile.imwrite(tmp_path / "x.tif", array, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(ImageError, match="too many axes"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("channels", [1, 2])
def test_written_tiff_is_read_by_tifffile(tmp_path: Path, channels: int) -> None:
    array = np.stack([VOLUME] * channels)
    write_image(tmp_path / "x.tif", Image(array, Geometry(spacing=(3.0, 0.5, 0.25))))
    assert np.array_equal(tifffile.imread(tmp_path / "x.tif").reshape(array.shape), array)
    assert read_image(tmp_path / "x.tif").geometry.spacing == (3.0, 0.5, 0.25)


def test_written_png_is_read_by_skimage(tmp_path: Path) -> None:
    wide = VOLUME[0].astype(np.int32)
    write_labels(tmp_path / "x.png", wide[None], Geometry.plane())
    assert np.array_equal(skimage.io.imread(tmp_path / "x.png"), wide)
    write_image(tmp_path / "c.png", Image(np.moveaxis(COLOUR, -1, 0)[:, None], Geometry.plane()))
    assert np.array_equal(skimage.io.imread(tmp_path / "c.png"), COLOUR)
