"""Damaged pictures and DICOM files through `check` and `predict`: how many are told, how many done, and nothing else.

    python benchmarks/damaged_files.py [--count 500] [--seed 0]

A tiny network is trained on pictures and one on volumes. Then, for each format, files are damaged (cut off, bits and
bytes changed, gaps) and checked as a data set and predicted. An exception other than this project's own ends the
program with a traceback. (Volumes of the other formats: `tests/workflows/test_workflow_damaged.py`.)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg import Predictor, pipeline
from autoseg.data.discovery import find_cases
from autoseg.data.files import write_image, write_labels
from autoseg.data.image import Geometry, Image

PLANE, VOLUME = (1, 40, 48), (4, 24, 28)
PICTURES = (".png", ".jpg", ".bmp", ".tif")


def scene(shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright box, and the box."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    y, x = rng.integers(3, 10, 2)
    labels[:, y : y + 9, x : x + 11] = 1
    return np.clip(rng.normal(90, 12, shape) + 80 * labels, 0, 255).astype(np.uint8), labels


def write_dicom(folder: Path, array: np.ndarray) -> None:
    """A series of one file a slice, uncompressed."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True)
    series = generate_uid()
    for number, plane in enumerate(array.astype(np.int16)):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item = Dataset()
        item.file_meta = meta
        item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        item.SeriesInstanceUID, item.Modality, item.InstanceNumber = series, "CT", number + 1
        item.ImagePositionPatient, item.ImageOrientationPatient = [0, 0, 2.0 * number], [1, 0, 0, 0, 1, 0]
        item.PixelSpacing, item.SliceThickness = [1, 1], 2
        item.Rows, item.Columns = plane.shape
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 1
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.RescaleSlope, item.RescaleIntercept = 1, 0
        item.PixelData = plane.tobytes()
        item.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, with bits or bytes of the beginning or anywhere changed, or with a gap."""
    changed, kind = bytearray(content), rng.integers(5)
    if kind == 0:
        return bytes(changed[: rng.integers(len(changed))])
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(changed) if kind < 3 else min(len(changed), 700)))
        if kind in (1, 3):
            changed[place] ^= 1 << int(rng.integers(8))
        else:
            changed[place : place + 20] = rng.bytes(int(rng.integers(0, 30)))
    return bytes(changed)


def trained(folder: Path, ending: str, shape: tuple[int, int, int]) -> Predictor:
    """A network of a few steps on sound images."""
    for number in range(5):
        array, labels = scene(shape, number)
        geometry = Geometry.plane() if shape[0] == 1 else Geometry(spacing=(2.0, 1.0, 1.0))
        write_image(folder / "data/images" / f"c{number}{ending}", Image(array[None], geometry))
        write_labels(folder / "data/labels" / f"c{number}{ending}", labels, geometry)
    names = "2d" if shape[0] == 1 else "3d_fullres"
    pipeline.plan_and_train(folder / "data", folder / "run", steps=10, folds="0", configurations=names, device="cpu")
    return Predictor.load(folder / "run", device="cpu")


def judge(name: str, folder: Path, predictor: Predictor) -> None:
    """Checks and predicts a data set of damaged images, and prints what became of them."""
    started = time.monotonic()
    problems = pipeline.check(folder, workers=0)
    told = {problem.file for problem in problems if problem.severity == "error"}
    cases = find_cases(folder / "images", 1)
    predicted = predictor.predict_files(cases, folder / "out")
    if len(predicted.files) + len(predicted.failures) != len(cases):
        raise RuntimeError(f"{name}: {len(cases)} images, {len(predicted.files)} done, {len(predicted.failures)} told")
    print(
        f"{name}: {len(cases)} damaged, check tells errors of {len(told)}; predict: {len(predicted.files)} done, "
        f"{len(predicted.failures)} refused by name; {time.monotonic() - started:.0f} s",
        flush=True,
    )


def damaged_set(
    folder: Path, count: int, seed: int, write: Callable[[Path, int], None], shape: tuple[int, int, int]
) -> Path:
    """A data set of damaged images with sound labels; `write` puts down the image of a number."""
    for number in range(count):
        write(folder / "images", number)
        geometry = Geometry.plane() if shape[0] == 1 else Geometry(spacing=(2.0, 1.0, 1.0))
        ending = ".png" if shape[0] == 1 else ".nii.gz"
        write_labels(folder / "labels" / f"c{number:03d}{ending}", scene(shape, seed)[1], geometry)
    return folder


def main() -> None:
    """Prints a line for each format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        predictor = trained(root / "planes", ".png", PLANE)
        for ending in PICTURES:
            sound = root / f"sound{ending}"
            write_image(sound, Image(scene(PLANE, options.seed)[0][None], Geometry.plane()))
            content = sound.read_bytes()

            def picture(folder: Path, number: int, ending: str = ending, content: bytes = content) -> None:
                rng = np.random.default_rng([options.seed, number, zlib.crc32(ending.encode())])
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"c{number:03d}{ending}").write_bytes(damaged(content, rng))

            judge(ending, damaged_set(root / ending[1:], options.count, options.seed, picture, PLANE), predictor)

        def series(folder: Path, number: int) -> None:
            rng = np.random.default_rng([options.seed, number])
            write_dicom(folder / f"c{number:03d}", scene(VOLUME, options.seed)[0])
            file = folder / f"c{number:03d}" / f"{rng.integers(VOLUME[0])}.dcm"
            file.write_bytes(damaged(file.read_bytes(), rng))

        predictor = trained(root / "volumes", ".nii.gz", VOLUME)
        judge("DICOM", damaged_set(root / "dicom", options.count, options.seed, series, VOLUME), predictor)


if __name__ == "__main__":
    main()
