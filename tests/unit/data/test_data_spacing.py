"""Headers that do not say how far voxels lie apart."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.files import write_image
from autoseg.data.image import Geometry, Image
from autoseg.data.spacing import check_spacing, lacks_scale
from autoseg.errors import ImageError


def patched(path: Path, offset: int, number: bytes) -> Path:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[offset : offset + len(number)] = number
    path.write_bytes(gzip.compress(bytes(content)))
    return path


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_nifti_without_spacing_is_refused(value: float, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_image(path, Image(np.zeros((1, 2, 3, 4), np.uint8), Geometry(spacing=(3.0, 2.0, 1.5))))
    check_spacing(path)
    with pytest.raises(ImageError, match="spacing is missing") as raised:
        check_spacing(patched(path, 84, struct.pack("<f", value)))  # pixdim[2]: of y
    assert "1.5, " in str(raised.value)


def test_the_third_axis_of_a_plane_needs_none(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_image(path, Image(np.zeros((1, 1, 3, 4), np.uint8), Geometry.plane((0.5, 0.5))))
    check_spacing(patched(path, 88, struct.pack("<f", 0.0)))


def test_nifti_2_is_read_too(tmp_path: Path) -> None:
    header = bytearray(540)
    struct.pack_into("<i", header, 0, 540)
    struct.pack_into("<8q", header, 16, 3, 4, 3, 2, 1, 1, 1, 1)
    struct.pack_into("<8d", header, 104, 1, 1.0, 1.0, 0.0, 0, 0, 0, 0)
    (tmp_path / "a.nii").write_bytes(bytes(header))
    with pytest.raises(ImageError, match="spacing is missing"):
        check_spacing(tmp_path / "a.nii")


def test_other_files_pass(tmp_path: Path) -> None:
    (tmp_path / "cut.nii.gz").write_bytes(b"\x1f\x8b12")
    for name in ("cut.nii.gz", "none.nii", "a.nrrd", "a.png"):
        check_spacing(tmp_path / name)
    assert lacks_scale("a.JPG")
    assert not lacks_scale("a.nii.gz")
