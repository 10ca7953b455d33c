"""Damaged pictures: an error, or what the format's own library reads; nothing else, and no word on the terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from autoseg.data.files import read_image, read_labels
from autoseg.errors import ImageError

SMOOTH = np.add.outer(np.arange(48), np.arange(56)).astype(np.uint8)
COLOUR = np.stack([SMOOTH, 255 - SMOOTH, SMOOTH // 2], axis=-1)
VOLUME = np.stack([SMOOTH + np.uint8(number) for number in range(3)])
TURNED = Picture.Exif()
TURNED[0x0112] = 6
DAMAGED = 500


def written(save: Callable[[io.BytesIO], Any]) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


def picture(array: np.ndarray, form: str, **options: Any) -> bytes:
    return written(lambda stream: Picture.fromarray(array).save(stream, form, **options))


def tiff(array: np.ndarray, **options: Any) -> bytes:
    return written(lambda stream: tifffile.imwrite(stream, array, **options))


def sound(form: str) -> list[bytes]:
    """Sound files of a format."""
    if form == "JPEG":
        inks = written(lambda stream: Picture.fromarray(COLOUR).convert("CMYK").save(stream, form))
        grey_and_colour = [picture(SMOOTH, form), picture(COLOUR, form, exif=TURNED)]
        return [*grey_and_colour, picture(COLOUR, form, progressive=True), inks]
    palette = written(lambda stream: Picture.fromarray(COLOUR).quantize(9).save(stream, form))
    if form == "TIFF":
        grey, rgb = {"photometric": "minisblack"}, {"photometric": "rgb"}
        return [
            palette,
            tiff(SMOOTH),
            tiff(SMOOTH.astype(np.uint16), compression="lzw", tile=(16, 16), predictor=True),
            tiff(COLOUR, compression="zlib", rowsperstrip=8, **rgb),
            tiff(VOLUME, compression="zstd", **grey),
            tiff(VOLUME, compression="lzma", metadata=None, **grey),
            tiff(VOLUME, ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, **grey),
            tiff(VOLUME, imagej=True, metadata={"axes": "ZYX", "spacing": 2.0, "unit": "mm"}),
            tiff(COLOUR, compression="jpeg", tile=(16, 16), **rgb),
            tiff(COLOUR, compression="jpeg2000", **rgb),
            tiff(SMOOTH.astype(np.float32), compression="zlib", predictor=3, bigtiff=True, byteorder=">"),
            picture(SMOOTH > 60, "TIFF", compression="group4"),
            tiff(SMOOTH, compression="packbits"),
        ]
    colour = picture(COLOUR, form, **({"exif": TURNED} if form == "PNG" else {}))
    return [picture(SMOOTH, form), colour, palette, picture(SMOOTH > 60, form)]


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, with some bits or bytes of its beginning or anywhere changed, or with a gap."""
    changed, kind = bytearray(content), rng.integers(5)
    if kind == 0:
        return bytes(changed[: rng.integers(len(changed))])
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(changed) if kind != 2 else min(len(changed), 300)))
        if kind in (1, 2):
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 3:
            del changed[place : place + int(rng.integers(1, 60))]
        else:
            changed[place : place + 20] = rng.integers(0, 256, 20, dtype=np.uint8).tobytes()
    return bytes(changed)


def library(path: Path) -> np.ndarray:
    """What tifffile or Pillow read, in the form of `read_image` but for what that turns, drops or names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".tif":
            logging.disable(logging.CRITICAL)
            try:
                return tifffile.imread(path)
            finally:
                logging.disable(logging.NOTSET)
        with Picture.open(path) as opened:
            many = opened.mode in ("P", "PA", "CMYK", "YCbCr")
            return np.asarray(opened.convert("RGB") if many else opened)


@pytest.mark.parametrize(("form", "ending"), [("PNG", ".png"), ("JPEG", ".jpg"), ("BMP", ".bmp"), ("TIFF", ".tif")])
def test_damage_is_an_error_or_read_as_the_library_reads_it(
    tmp_path: Path, form: str, ending: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    rng, path, files = np.random.default_rng(0), tmp_path / f"x{ending}", sound(form)
    errors = 0
    for number in range(DAMAGED):
        path.write_bytes(damaged(files[number % len(files)], rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                image = read_image(path)
        except ImageError:
            errors += 1
            continue
        told = {remark.code for remark in image.remarks}
        if told & {"white-is-zero", "alpha-channel"} or (form == "TIFF" and len(image.array) == 3):
            continue  # other values than tifffile's on purpose; colours may be those of a palette
        ours, theirs = np.sort(image.array, axis=None), np.sort(library(path), axis=None)
        if len(ours) * 4 == len(theirs) * 3:
            continue  # opacity that says nothing was dropped
        assert np.array_equal(ours, theirs), f"file {number}"
    assert errors > DAMAGED / 4
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.parametrize(("form", "ending"), [("PNG", ".png"), ("JPEG", ".jpg"), ("BMP", ".bmp"), ("TIFF", ".tif")])
def test_damaged_labels_are_an_error_or_whole_numbers(tmp_path: Path, form: str, ending: str) -> None:
    rng, path, files = np.random.default_rng(1), tmp_path / f"x{ending}", sound(form)
    for number in range(100):
        path.write_bytes(damaged(files[number % len(files)], rng))
        with contextlib.suppress(ImageError):
            assert read_labels(path).array.dtype.kind in "iu"
