"""PNG, JPEG and BMP of odd kinds: what they mean by their standards, or an error that says what they are."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageOps

from autoseg.data import pictures
from autoseg.data.files import read_image, read_labels
from autoseg.data.image import Image
from autoseg.data.undescribed import channel_names
from autoseg.errors import ImageError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (8, 11), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (8, 11, 3), dtype=np.uint8)


def channels(array: np.ndarray) -> np.ndarray:
    """(Y, X, C) as (C, 1, Y, X)."""
    return np.moveaxis(array, -1, 0)[:, None]


def codes(image: Image) -> list[str]:
    return [remark.code for remark in image.remarks]


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(size: tuple[int, int], depth: int, colour_type: int, rows: list[bytes], *between: bytes) -> bytes:
    """A PNG of bytes as the standard has them, none of which a library wrote."""
    header = struct.pack(">IIBBBBB", size[1], size[0], depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", header), *between, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("ending", [".png", ".jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_stand_upright_as_exif_says(tmp_path: Path, ending: str, orientation: int) -> None:
    tag = Picture.Exif()
    tag[0x0112] = orientation
    Picture.fromarray(COLOUR).save(tmp_path / f"x{ending}", exif=tag)
    upright = np.asarray(ImageOps.exif_transpose(Picture.open(tmp_path / f"x{ending}")))
    image = read_image(tmp_path / f"x{ending}")
    assert np.array_equal(image.array, channels(upright))
    assert codes(image) == (["stored-turned"] if orientation > 1 else [])
    Picture.fromarray(GREY).save(tmp_path / "labels.png", exif=tag)
    labels = read_labels(tmp_path / "labels.png")
    assert np.array_equal(labels.array[0, 0], ImageOps.exif_transpose(Picture.open(tmp_path / "labels.png")))


def test_damaged_exif_is_told(tmp_path: Path) -> None:
    Picture.fromarray(GREY).save(tmp_path / "x.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12\0\x03")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(tmp_path / "x.jpg")
    assert codes(image) == ["picture-metadata"]
    assert image.shape == (1, *GREY.shape)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_sixteen_bits_of_all_kinds_of_png(tmp_path: Path, samples: int) -> None:
    array = RNG.integers(0, 65536, (5, 6, samples), dtype=np.uint16)
    if samples in (2, 4):
        array[..., -1] = 65535
    rows = [row.astype(">u2").tobytes() for row in array]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[samples]
    (tmp_path / "x.png").write_bytes(png((5, 6), 16, kind, rows))
    image = read_image(tmp_path / "x.png")
    assert image.array.dtype == np.uint16
    assert np.array_equal(image.array, channels(array[..., : 3 if samples > 2 else 1]))
    assert pictures.is_coloured(tmp_path / "x.png") == (samples > 2)
    (tmp_path / "t.png").write_bytes(png((5, 6), 16, kind, rows, chunk(b"tRNS", b"\0\1" * min(samples, 3))))
    if samples in (1, 3):
        assert np.array_equal(read_image(tmp_path / "t.png").array, image.array), "one transparent colour is left out"


def test_few_bits_are_spread_over_eight_as_pillow_does(tmp_path: Path) -> None:
    for depth, row in ((2, 0b00011011), (4, 0b00011111)):
        (tmp_path / "x.png").write_bytes(png((3, 8 // depth), depth, 0, [bytes([row])] * 3))
        labels = read_labels(tmp_path / "x.png")
        assert np.array_equal(labels.array[0, 0], np.asarray(Picture.open(tmp_path / "x.png")))
        assert codes(labels) == ["few-bits"]
        assert codes(read_image(tmp_path / "x.png")) == []


def test_opacity_that_differs_is_a_channel_with_a_remark(tmp_path: Path) -> None:
    Picture.fromarray(np.dstack([COLOUR, GREY])).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert np.array_equal(image.array, channels(np.dstack([COLOUR, GREY])))
    assert codes(image) == ["alpha-channel"]
    assert channel_names([(tmp_path / "x.png",)]) == ("R", "G", "B")


def test_opacity_of_labels(tmp_path: Path) -> None:
    """It may follow from the colours, as of masks that lie over an image, or be all that tells pixels apart."""
    classes = GREY > 128
    colour = np.repeat(classes[..., None], 3, axis=-1).astype(np.uint8)
    Picture.fromarray(np.dstack([colour, np.where(classes, 120, 0).astype(np.uint8)])).save(tmp_path / "over.png")
    labels = read_labels(tmp_path / "over.png")
    assert np.array_equal(labels.array[0, 0], classes)
    assert codes(labels) == ["alpha-of-labels"]
    Picture.fromarray(np.dstack([colour * 0, np.where(classes, 255, 0).astype(np.uint8)])).save(tmp_path / "y.png")
    with pytest.raises(ImageError, match="opacity"):
        read_labels(tmp_path / "y.png")


def test_palettes(tmp_path: Path) -> None:
    picture = Picture.fromarray(COLOUR).quantize(7)
    for ending in (".png", ".bmp"):
        picture.save(tmp_path / f"x{ending}")
        stored = Picture.open(tmp_path / f"x{ending}")
        labels = read_labels(tmp_path / f"x{ending}")
        assert np.array_equal(labels.array[0, 0], stored)
        assert codes(labels) == ["palette-indices"]
        assert np.array_equal(read_image(tmp_path / f"x{ending}").array, channels(np.asarray(stored.convert("RGB"))))
    picture.save(tmp_path / "t.png", transparency=0)
    assert codes(read_image(tmp_path / "t.png")) == ["alpha-channel"], "some of the pixels have that index"
    assert np.array_equal(read_labels(tmp_path / "t.png").array[0, 0], picture)


def test_jpeg_of_inks_is_rgb(tmp_path: Path) -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:8, :, 0], inks[8:, :, 1] = 255, 255  # cyan above magenta
    Picture.fromarray(inks, "CMYK").save(tmp_path / "x.jpg", quality=100, subsampling=0)
    red, green, blue = read_image(tmp_path / "x.jpg").array[:, 0].astype(int)
    assert red[:6].max() < 10
    assert green[:6].min() > 245
    assert green[10:].max() < 10
    assert red[10:].min() > 245
    assert blue.min() > 245


def test_labels_as_jpeg_are_told(tmp_path: Path) -> None:
    Picture.fromarray(GREY).save(tmp_path / "x.jpg")
    assert codes(read_labels(tmp_path / "x.jpg")) == ["lossy-labels"]
    (tmp_path / "x.png").write_bytes((tmp_path / "x.jpg").read_bytes())
    assert codes(read_labels(tmp_path / "x.png")) == ["lossy-labels"], "whatever the name says"
    assert codes(read_image(tmp_path / "x.jpg")) == []


def test_what_is_not_read_is_refused_by_name(tmp_path: Path) -> None:
    frames = [Picture.fromarray(GREY), Picture.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "gif.png", "GIF")
    Picture.fromarray(COLOUR).save(tmp_path / "tiff.bmp", "TIFF")
    (tmp_path / "12.jpg").write_bytes(imagecodecs.jpeg_encode(GREY.astype(np.uint16) * 16, bitspersample=12))
    (tmp_path / "text.png").write_text("no picture")
    expected = {"moving.png": "2 frames", "gif.png": "GIF", "tiff.bmp": "TIFF", "12.jpg": "12 bits",
                "text.png": "no picture that is known"}  # fmt: skip
    for name, word in expected.items():
        with pytest.raises(ImageError, match=word):
            read_image(tmp_path / name)


def test_several_photos_in_a_jpeg_are_told(tmp_path: Path) -> None:
    photos = [Picture.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    photos[0].save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=photos[1:])
    image = read_image(tmp_path / "x.jpg")
    assert codes(image) == ["several-photos"]
    assert image.array[0].min() > 250


def test_sizes_are_looked_at_before_memory_is_taken(tmp_path: Path) -> None:
    row = zlib.compress(b"\0" * 100)
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(bomb)
    with pytest.raises(ImageError, match="more pixels than"):
        read_image(tmp_path / "x.png")


def test_a_large_picture_is_no_reason_to_warn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Picture, "MAX_IMAGE_PIXELS", GREY.size - 1)
    Picture.fromarray(GREY).save(tmp_path / "x.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codes(read_image(tmp_path / "x.png")) == []
        assert not pictures.is_coloured(tmp_path / "x.png")


def test_every_chunk_of_a_png_is_checked(tmp_path: Path) -> None:
    """Pillow shows other pixels where a bit of them has changed."""
    stream = io.BytesIO()
    Picture.fromarray(GREY).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    content[content.index(b"IDAT") + 40] ^= 1
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ImageError, match="checksum"):
        read_image(tmp_path / "x.png")
