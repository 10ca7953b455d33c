"""Damaged DICOM files are an `ImageError` or an image; nothing else, in bounded time and memory."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from dicom_objects import enhanced_object, frame_groups, save, save_as, series_objects, slice_object, voxels
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from autoseg.data.dataset import Reading
from autoseg.data.files import read_image
from autoseg.errors import ImageError

PIXELS = np.abs(voxels((64, 72))).astype(np.uint16)
HEADER = 2000  # bytes, about


def sound_objects() -> dict[str, Dataset]:
    array = voxels((5, 16, 18))
    objects = {"enhanced": enhanced_object(array, [frame_groups(z) for z in range(5)])}
    for syntax in (JPEG2000Lossless, JPEGLSLossless, RLELossless):
        objects[syntax.keyword] = slice_object(PIXELS, 0)
        objects[syntax.keyword].compress(syntax, generate_instance_uid=False)
    for syntax in (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        objects[syntax.keyword] = slice_object(PIXELS, 0)
        objects[syntax.keyword].file_meta.TransferSyntaxUID = syntax
    objects["plain"] = slice_object(PIXELS, 0)
    return objects


def damaged(content: bytes, seed: int) -> bytes:
    """Cut off, or with some bits or bytes changed in the header or anywhere."""
    rng, changed = np.random.default_rng(seed), bytearray(content)
    kind = seed % 4
    if kind == 0:
        return content[: rng.integers(len(content))]
    for place in rng.integers(len(content) if kind == 1 else min(HEADER, len(content)), size=rng.integers(1, 12)):
        changed[place] ^= 1 << int(rng.integers(8)) if kind < 3 else int(rng.integers(1, 256))
    return bytes(changed)


@pytest.mark.parametrize("name", sorted(sound_objects()))
def test_damaged_files(tmp_path: Path, name: str) -> None:
    path = save_as(sound_objects()[name], tmp_path / "x.dcm")
    content = path.read_bytes()
    outcomes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pytest, which shows what the program's own filter leaves out
        for seed in range(72):
            path.write_bytes(damaged(content, seed))
            try:
                outcomes.append(read_image(path, Reading(series="largest")).array.size)
            except ImageError:
                outcomes.append(0)
    assert 0 in outcomes
    assert max(outcomes) <= 2 * PIXELS.size


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
def test_sizes_beyond_the_bytes_that_are_there(tmp_path: Path, keyword: str) -> None:
    for number, made in enumerate(sound_objects().values()):
        setattr(made, keyword, 65535)
        with pytest.raises(ImageError, match=r"cannot be read|no sound"):
            read_image(save_as(made, tmp_path / f"{number}.dcm"))


def test_more_frames_than_there_are(tmp_path: Path) -> None:
    made = slice_object(PIXELS, 0, Modality="US", NumberOfFrames=3)
    with pytest.raises(ImageError):
        read_image(save_as(made, tmp_path / "x.dcm"), Reading(series="largest"))


def test_pydicom_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of odd values that do not matter there is no word."""
    slices = series_objects(voxels((3, 6, 7)))
    for made in slices:
        made.add_new(0x00100030, "DA", "no date")
        made.PixelData += b"\0" * 10
    folder = save(slices, tmp_path)
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as told:
        warnings.resetwarnings()
        warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")  # as the program does when it loads pydicom
        read_image(folder)
    assert told == []
    assert capfd.readouterr() == ("", "")
