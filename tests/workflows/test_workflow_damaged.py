"""Damaged volumes of every format through `check` and `predict`: each is told or done, nothing else happens."""

from __future__ import annotations

import gzip
import time
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from autoseg import Predictor, pipeline
from autoseg.data.discovery import find_cases
from autoseg.data.files import read_image, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.errors import ImageError
from autoseg.workspace import Run

SHAPE = (6, 10, 12)
COUNT = 500
SECONDS = 60

ENDINGS = (".nii", ".nii.gz", ".hdr", ".nrrd", ".mha", ".gipl")


def sound(folder: Path, ending: str) -> list[bytes]:
    """Sound files of a format, of two types of numbers."""
    rng = np.random.default_rng(0)
    contents = []
    for dtype in (np.int16, np.float32):
        array = (np.indices(SHAPE).sum(0) * 40 + rng.normal(0, 20, SHAPE)).astype(dtype)
        path = folder / f"sound{ending}"
        write_image(path, Image(array[None], Geometry(spacing=(2.0, 1.0, 0.5), origin=(3.0, -4.0, 5.0))))
        contents.append(path.read_bytes())
    for path in folder.glob("sound.*"):
        if path.suffix != ".img":
            path.unlink()
    return contents


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, with bits or bytes of the header or anywhere changed, with a gap, or with something behind."""
    changed, kind = bytearray(content), rng.integers(6)
    if kind == 0:
        return bytes(changed[: rng.integers(len(changed))])
    if kind == 1:
        return bytes(changed) + rng.bytes(int(rng.integers(1, 400)))
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(changed) if kind == 2 else min(len(changed), 350)))
        if kind in (2, 3):
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 4:
            changed[place : place + 4] = rng.bytes(4)
        else:
            changed[place : place + int(rng.integers(1, 40))] = bytes(int(rng.integers(0, 40)))
    return bytes(changed)


def damaged_set(folder: Path, ending: str) -> Path:
    """A data set of damaged images, each with a sound label."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:4, 3:6, 4:8] = 1
    contents = sound(folder, ending)
    write_labels(folder / "label.nii.gz", labels, Geometry(spacing=(2.0, 1.0, 0.5), origin=(3.0, -4.0, 5.0)))
    label = (folder / "label.nii.gz").read_bytes()
    voxels = (folder / "sound.img").read_bytes() if ending == ".hdr" else b""
    for seed in range(COUNT):
        rng, content = np.random.default_rng([zlib.crc32(ending.encode()), seed]), contents[seed % len(contents)]
        inside = ending == ".nii.gz" and seed % 3 > 0  # behind the checksum of gzip
        content = gzip.compress(damaged(gzip.decompress(content), rng)) if inside else damaged(content, rng)
        (folder / "images" / f"c{seed:03d}{ending}").write_bytes(content)
        if voxels:
            (folder / "images" / f"c{seed:03d}.img").write_bytes(voxels)
        (folder / "labels" / f"c{seed:03d}.nii.gz").write_bytes(label)
    return folder


@pytest.mark.parametrize("ending", ENDINGS)
def test_damaged_volumes_are_told_or_done(
    tmp_path: Path, trained: Run, ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = damaged_set(tmp_path / "data", ending)
    started = time.monotonic()
    problems = pipeline.check(folder, workers=0)
    assert time.monotonic() - started < SECONDS
    told = {Path(problem.file).name.split(".")[0] for problem in problems if problem.severity == "error"}
    assert len(told) > COUNT / 10  # the damage is seen

    cases = find_cases(folder / "images", 1)
    predicted = Predictor.load(trained.root, device="cpu").predict_files(cases, tmp_path / "out")
    assert len(predicted.files) + len(predicted.failures) == len(cases)
    for failure in predicted.failures:
        assert failure.split(":")[0] in {case.id for case in cases} or str(folder) in failure
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".hdr"])
def test_what_nibabel_reads_too_has_the_same_values(tmp_path: Path, ending: str) -> None:
    folder, both = damaged_set(tmp_path / "data", ending), 0
    for path in sorted((folder / "images").glob(f"*{ending}")):
        try:
            ours = read_image(path).array.astype(np.float64)
        except ImageError:
            continue
        try:
            theirs = np.asarray(nib.load(path).dataobj, np.float64).T
        except (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, OSError, ValueError):
            continue
        both += 1
        # Scaled values are single precision here.
        assert np.allclose(ours.ravel(), theirs.ravel(), rtol=1e-6, equal_nan=True), path.name
    assert both > COUNT / 10
