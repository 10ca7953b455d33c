"""TIFF in the forms that scanners, microscopes and slide software write, against tifffile, Pillow and the standard."""

from __future__ import annotations

import logging
import struct
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from autoseg.data import raster, tiff_log
from autoseg.data.files import read_image, read_labels
from autoseg.data.image import Geometry, Image
from autoseg.data.undescribed import channel_names
from autoseg.errors import ImageError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (21, 35), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (21, 35, 3), dtype=np.uint8)
VOLUME = RNG.integers(0, 60000, (4, 21, 35), dtype=np.uint16)

LAYOUTS: dict[str, dict[str, Any]] = {
    "YX": {"photometric": "minisblack"},
    "YXS": {"photometric": "rgb"},
    "SYX": {"photometric": "rgb", "planarconfig": "separate"},
    "ZYX": {"photometric": "minisblack"},
}
LOSSLESS = (None, "lzw", "deflate", "zstd", "lzma", "packbits")


def codes(image: Image) -> list[str]:
    return [remark.code for remark in image.remarks]


def as_channels(array: np.ndarray, layout: str) -> np.ndarray:
    """(C, Z, Y, X) of an array with these axes."""
    if layout == "YXS":
        return np.moveaxis(array, -1, 0)[:, None]
    return array[:, None] if layout == "SYX" else array.reshape(1, -1, *array.shape[-2:])


def values(layout: str, dtype: str) -> np.ndarray:
    shape = {"YX": (21, 35), "YXS": (21, 35, 3), "SYX": (3, 21, 35), "ZYX": (5, 21, 35)}[layout]
    array = RNG.normal(0, 100, shape) if dtype[0] == "f" else RNG.integers(0, 120, shape)
    return array.astype(dtype)


@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_compression_type_and_layout(tmp_path: Path, compression: str | None, layout: str) -> None:
    path = tmp_path / "x.tif"
    dtypes = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
    pieces: tuple[dict[str, Any], ...] = ({}, {"tile": (16, 16)}, {"rowsperstrip": 8})
    for number, (dtype, piece, predictor) in enumerate(product(dtypes, pieces, (False, True))):
        if predictor and (compression in (None, "packbits") or dtype in ("u8", "i8")):
            continue  # not written by tifffile
        array = values(layout, dtype)
        options = {**LAYOUTS[layout], **piece, "predictor": predictor or None, "byteorder": "<>"[number % 2]}
        tifffile.imwrite(path, array, compression=compression, bigtiff=number % 3 == 0, **options)
        image = read_image(path)
        assert image.array.dtype == np.dtype(dtype)
        assert np.array_equal(image.array, as_channels(array, layout)), (dtype, piece, predictor)
        assert codes(image) == []


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "jpegxl", "webp", "png"])
def test_compressions_of_pictures(tmp_path: Path, compression: str) -> None:
    smooth = np.add.outer(np.arange(21), np.arange(35)).astype(np.uint8) * 3
    array = np.stack([smooth, 255 - smooth, smooth // 2], axis=-1)
    lossless = {"jpeg2000": {"reversible": True}, "jpegxl": {"lossless": True}, "webp": {"lossless": True}}
    arguments = lossless.get(compression)
    options: dict[str, Any] = {"photometric": "rgb", "compression": compression, "compressionargs": arguments}
    tifffile.imwrite(tmp_path / "x.tif", array, tile=(16, 16), **options)
    image = read_image(tmp_path / "x.tif")
    assert np.array_equal(image.array, as_channels(tifffile.imread(tmp_path / "x.tif"), "YXS"))
    assert np.abs(image.array - as_channels(array.astype(int), "YXS")).max() <= (60 if compression == "jpeg" else 0)
    if compression in ("jpeg", "jpeg2000", "jpegxl"):
        tifffile.imwrite(tmp_path / "y.tif", smooth, compression=compression, compressionargs=arguments)
        assert codes(read_labels(tmp_path / "y.tif")) == ["lossy-labels"]


@pytest.mark.parametrize("compression", [None, "group3", "group4", "packbits", "tiff_lzw"])
def test_one_bit(tmp_path: Path, compression: str | None) -> None:
    mask = GREY > 100
    Picture.fromarray(mask).save(tmp_path / "x.tif", compression=compression)
    for image in (read_image(tmp_path / "x.tif"), read_labels(tmp_path / "x.tif")):
        assert image.array.dtype == np.uint8
        assert np.array_equal(image.array[0, 0], mask)


@pytest.mark.parametrize("bits", [2, 4, 12])
def test_few_bits_keep_their_values(tmp_path: Path, bits: int) -> None:
    array = (VOLUME[0] % 2**bits).astype(np.uint16 if bits > 8 else np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", array, bitspersample=bits)
    assert np.array_equal(read_image(tmp_path / "x.tif").array[0, 0], array)
    tifffile.imwrite(tmp_path / "y.tif", array, bitspersample=bits, photometric="miniswhite")
    assert np.array_equal(read_image(tmp_path / "y.tif").array[0, 0], 2**bits - 1 - array)


def test_not_a_number_stays(tmp_path: Path) -> None:
    array = VOLUME[0].astype(np.float32)
    array[3, 4] = np.nan
    tifffile.imwrite(tmp_path / "x.tif", array, compression="lzw", predictor=True)
    assert np.array_equal(read_image(tmp_path / "x.tif").array[0, 0], array, equal_nan=True)


def test_palettes_are_colours_or_indices(tmp_path: Path) -> None:
    indices = (GREY % 5).astype(np.uint8)
    colours = RNG.integers(0, 256, (3, 256), dtype=np.uint16)
    for name, factor in (("x", 257), ("y", 256)):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, indices, photometric="palette", colormap=colours * np.uint16(factor), compression="lzw")
        assert np.array_equal(read_image(path).array[:, 0], colours[:, indices])
        labels = read_labels(path)
        assert np.array_equal(labels.array[0, 0], indices)
        assert codes(labels) == ["palette-indices"]
        assert channel_names([(path,)]) == ("R", "G", "B")
    wide = RNG.integers(0, 65536, (3, 256), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "w.tif", indices, photometric="palette", colormap=wide)
    assert np.array_equal(read_image(tmp_path / "w.tif").array[:, 0], wide[:, indices])


def test_tables_that_imagej_shows_grey_images_by_are_left_out(tmp_path: Path) -> None:
    table = np.stack([np.arange(256), np.zeros(256), np.zeros(256)]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", GREY, imagej=True, photometric="palette", colormap=table.astype("u2") * 257)
    image = read_image(tmp_path / "x.tif")
    assert np.array_equal(image.array[0, 0], GREY)
    assert codes(image) == ["display-table"]
    assert channel_names([(tmp_path / "x.tif",)]) == ("image0",)


def test_white_is_zero(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", VOLUME, photometric="miniswhite")
    image = read_image(tmp_path / "x.tif")
    assert np.array_equal(image.array[0], 65535 - VOLUME)
    assert codes(image) == ["white-is-zero"]
    labels = read_labels(tmp_path / "x.tif")
    assert np.array_equal(labels.array[0], VOLUME), "numbers of classes are no brightness"
    assert codes(labels) == ["white-is-zero"]
    tifffile.imwrite(tmp_path / "b.tif", GREY > 99, photometric="miniswhite")
    assert np.array_equal(read_labels(tmp_path / "b.tif").array[0, 0], ~np.asarray(GREY > 99))
    assert np.array_equal(read_labels(tmp_path / "b.tif").array[0, 0], Picture.open(tmp_path / "b.tif"))
    tifffile.imwrite(tmp_path / "f.tif", VOLUME.astype(np.float32), photometric="miniswhite")
    with pytest.raises(ImageError, match="zero white"):
        read_image(tmp_path / "f.tif")


def test_opacity(tmp_path: Path) -> None:
    opaque = np.dstack([COLOUR, np.full_like(GREY, 255)])
    tifffile.imwrite(tmp_path / "x.tif", opaque, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(read_image(tmp_path / "x.tif").array, as_channels(COLOUR, "YXS"))
    tifffile.imwrite(tmp_path / "y.tif", np.dstack([COLOUR, GREY]), photometric="rgb", extrasamples=["unassalpha"])
    assert codes(read_image(tmp_path / "y.tif")) == ["alpha-channel"]
    tifffile.imwrite(tmp_path / "z.tif", np.dstack([COLOUR, GREY]), photometric="rgb", extrasamples=["unspecified"])
    image = read_image(tmp_path / "z.tif")
    assert len(image.array) == 4
    assert codes(image) == [], "a fourth channel that is no opacity"


def test_inks_are_converted_as_pillow_does(tmp_path: Path) -> None:
    inks = RNG.integers(0, 256, (21, 35, 4), dtype=np.uint8)
    Picture.fromarray(inks, "CMYK").save(tmp_path / "x.tif")
    rgb = np.asarray(Picture.open(tmp_path / "x.tif").convert("RGB"))
    assert np.array_equal(read_image(tmp_path / "x.tif").array, as_channels(rgb, "YXS"))


@pytest.mark.parametrize(("photometric", "word"), [("ycbcr", "YCbCr"), ("cielab", "L\\*a\\*b"), ("cfa", "filter")])
def test_other_colour_spaces_are_refused_by_name(tmp_path: Path, photometric: str, word: str) -> None:
    code = {"ycbcr": 6, "cielab": 8, "cfa": 32803}[photometric]
    tifffile.imwrite(tmp_path / "x.tif", COLOUR, photometric="rgb")
    replace_tag(tmp_path / "x.tif", 262, code)
    with pytest.raises(ImageError, match=word):
        read_image(tmp_path / "x.tif")


def test_jpeg_of_brightness_and_colour_differences_is_rgb(tmp_path: Path) -> None:
    Picture.new("RGB", (32, 32), (200, 40, 90)).save(tmp_path / "x.tif", compression="jpeg", quality=100)
    red, green, blue = read_image(tmp_path / "x.tif").array[:, 0]
    assert [int(np.median(channel)) for channel in (red, green, blue)] == pytest.approx([200, 40, 90], abs=3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pages_stand_upright(tmp_path: Path, orientation: int) -> None:
    metadata = {"axes": "ZYX", "spacing": 2.0, "unit": "mm"}
    tifffile.imwrite(
        tmp_path / "x.tif", VOLUME, imagej=True, metadata=metadata, resolution=(4.0, 2.0),
        extratags=[(274, "H", 1, orientation, False)],
    )  # fmt: skip
    image = read_image(tmp_path / "x.tif")
    how = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
           7: "TRANSVERSE", 8: "ROTATE_90"}  # fmt: skip
    for stored, upright in zip(VOLUME, image.array[0], strict=True):
        page = Picture.fromarray(stored.astype(np.int32))
        turned = page if orientation == 1 else page.transpose(Picture.Transpose[how[orientation]])
        assert np.array_equal(upright, np.asarray(turned))
    y, x = (0.5, 0.25) if orientation < 5 else (0.25, 0.5)
    assert image.geometry.spacing == pytest.approx((2.0, y, x))
    assert codes(image) == ([] if orientation == 1 else ["stored-turned"])


def test_the_full_resolution_of_a_pyramid(tmp_path: Path) -> None:
    large = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    for name, nested in (("x.tif", 1), ("y.tif", 0)):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            writer.write(large, tile=(16, 16), subifds=nested)
            writer.write(large[::2, ::2], tile=(16, 16), subfiletype=1)
        assert np.array_equal(read_image(tmp_path / name).array, large[None, None])
    with tifffile.TiffWriter(tmp_path / "z.tif") as writer:
        writer.write(large, metadata=None)
        writer.write(large[:20, :30], subfiletype=1, metadata=None)
    assert np.array_equal(read_image(tmp_path / "z.tif").array, large[None, None]), "a thumbnail beside it"


def test_a_slide_among_the_pictures_of_its_scanner(tmp_path: Path) -> None:
    slide = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    said = "Aperio Image Library v1\r\n64x64 [0,0 64x64] (16x16) |AppMag = 20"
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(slide, tile=(16, 16), description=said, metadata=None, photometric="rgb")
        writer.write(slide[::4, ::4], description="Aperio Image Library v1\r\n", metadata=None, photometric="rgb")
        writer.write(slide[:20, :30], description="Aperio\r\nlabel", subfiletype=1, metadata=None, photometric="rgb")
        writer.write(slide[:30, :20], description="Aperio\r\nmacro", subfiletype=9, metadata=None, photometric="rgb")
    image = read_image(tmp_path / "x.tif")
    assert np.array_equal(image.array, as_channels(slide, "YXS"))


def test_different_images_in_a_file_are_listed(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(GREY, metadata=None)
        writer.write(VOLUME[0, :5, :7], metadata=None)
    with pytest.raises(ImageError, match=r"21 x 35 .* uint8; 5 x 7 .* uint16"):
        read_image(tmp_path / "x.tif")
    with tifffile.TiffWriter(tmp_path / "y.tif") as writer:
        for page in (GREY, GREY, GREY[:5], GREY, GREY):
            writer.write(page, metadata=None, contiguous=False)
    with pytest.raises(ImageError):
        read_image(tmp_path / "y.tif")


def test_channels_interleaved_or_plane_by_plane(tmp_path: Path) -> None:
    """Samples without a name are channels, except where tifffile writes a grey volume as planes."""
    stack = np.stack([GREY, 255 - GREY, GREY // 2, GREY // 3])
    options: dict[str, Any] = {"photometric": "minisblack", "metadata": None}
    tifffile.imwrite(tmp_path / "x.tif", np.moveaxis(stack, 0, -1), planarconfig="contig", **options)
    tifffile.imwrite(tmp_path / "y.tif", stack, planarconfig="separate", **options)
    for name in ("x.tif", "y.tif"):
        assert np.array_equal(read_image(tmp_path / name).array, stack[:, None])
    tifffile.imwrite(tmp_path / "z.tif", stack, planarconfig="separate", photometric="minisblack")
    image = read_image(tmp_path / "z.tif")
    assert np.array_equal(image.array, stack[None])
    assert codes(image) == ["pages-as-slices"]


def test_points_in_time_are_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", VOLUME, imagej=True, metadata={"axes": "TYX"})
    image = read_image(tmp_path / "x.tif")
    assert image.shape == VOLUME.shape
    assert [remark.got for remark in image.remarks] == ["points in time"]


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", VOLUME[0].astype(np.complex64))
    with pytest.raises(ImageError, match="complex"):
        read_image(tmp_path / "x.tif")


def test_parts_that_are_not_stored_are_told(tmp_path: Path) -> None:
    tiles = [np.full((16, 16), number + 1, np.uint8).tobytes() if number % 2 else b"" for number in range(4)]
    tifffile.imwrite(tmp_path / "x.tif", iter(tiles), shape=(32, 32), dtype=np.uint8, tile=(16, 16))
    image = read_image(tmp_path / "x.tif")
    assert np.unique(image.array).tolist() == [0, 2, 4]
    assert codes(image) == ["empty-tiles"]


def test_missing_files_of_a_data_set_of_ome_are_no_zeros(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX"}
    tifffile.imwrite(tmp_path / "x.ome.tif", VOLUME, metadata=metadata, photometric="minisblack")
    content = (tmp_path / "x.ome.tif").read_bytes()
    assert b'PlaneCount="4"' in content
    (tmp_path / "x.ome.tif").write_bytes(content.replace(b'SizeZ="4"', b'SizeZ="8"'))
    with pytest.raises(ImageError):
        read_image(tmp_path / "x.ome.tif")


@pytest.mark.parametrize("compression", [None, "lzw", "jpeg", "zstd"])
def test_a_cut_off_file_is_an_error(tmp_path: Path, compression: str | None) -> None:
    """Also where the decoder fills up what is missing, as those of JPEG do."""
    array = RNG.integers(0, 256, (100, 100), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", array, compression=compression, rowsperstrip=16)
    content = (tmp_path / "x.tif").read_bytes()
    for missing in (1, 20, len(content) // 3):
        (tmp_path / "y.tif").write_bytes(content[:-missing])
        with pytest.raises(ImageError, match="cannot be read"):
            read_image(tmp_path / "y.tif")


def test_damage_that_tifffile_logs_is_an_error_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pages = [Picture.fromarray(page) for page in (VOLUME // 256).astype(np.uint8)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    content = (tmp_path / "x.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        third = tiff.pages[2].offset
    pointer = struct.pack("<I", third)
    assert content.count(pointer) == 1
    (tmp_path / "x.tif").write_bytes(content.replace(pointer, struct.pack("<I", 0x7FFFFFF0)))
    logging.getLogger("tifffile").setLevel(logging.NOTSET)
    with pytest.raises(ImageError, match="invalid page offset"):
        read_image(tmp_path / "x.tif")
    assert capfd.readouterr() == ("", "")


def test_which_lines_of_the_log_are_damage() -> None:
    assert tiff_log.damage(["<tifffile.TiffTag 306 @10> invalid data type 9000"]) is None
    assert tiff_log.damage(["<tifffile.TiffTag 258 @10> invalid data type 9000"]) is not None
    assert tiff_log.damage(["<tifffile.TiffTag 274 @10> invalid", "x"]) == "<tifffile.TiffTag 274 @10> invalid"
    assert tiff_log.damage(["tifffile.read_segments: expected 4 segments, got 3"]) is not None
    assert tiff_log.damage([]) is None


def test_lines_of_other_users_of_tifffile_still_appear(caplog: pytest.LogCaptureFixture) -> None:
    with tiff_log.tifffile_lines() as lines:
        logging.getLogger("tifffile").warning("inside")
    logging.getLogger("tifffile").warning("outside")
    assert lines == ["inside"]
    assert [record.getMessage() for record in caplog.records] == ["outside"]


@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "packbits"])
def test_sizes_are_looked_at_before_memory_is_taken(
    tmp_path: Path, compression: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that promises more than its bytes can hold, however well they are compressed."""
    array = np.zeros((512, 512), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", array, compression=compression, rowsperstrip=512, metadata=None)
    replace_tag(tmp_path / "x.tif", 278, 65535 * 512)  # rows of the strip, then of the image
    replace_tag(tmp_path / "x.tif", 257, 65535 * 512)
    monkeypatch.setattr(raster, "machine_memory", lambda: 2**50)
    with pytest.raises(ImageError, match="where the header promises"):
        read_image(tmp_path / "x.tif")


def test_more_than_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "x.tif", VOLUME, compression="zstd", photometric="minisblack")
    assert read_image(tmp_path / "x.tif").geometry == Geometry()
    monkeypatch.setattr(raster, "machine_memory", lambda: VOLUME.nbytes)
    with pytest.raises(ImageError, match="larger than this machine can hold"):
        read_image(tmp_path / "x.tif")


def replace_tag(path: Path, code: int, value: int) -> None:
    """Overwrites the value of a tag of one number in the first page of a little-endian TIFF."""
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages.first.tags[code]
        if value > 65535:
            tag.overwrite(value, dtype="I")
        else:
            tag.overwrite(value)
