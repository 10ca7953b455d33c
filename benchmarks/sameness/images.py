"""Small data sets of drawn ellipsoids: volumes on several grids, and pictures. The same files each time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

TRAINING, TEST = 8, 2
"""Cases of each data set."""

LABELS = {"background": 0, "shell": 1, "core": 2}


def write_volumes(folder: Path) -> None:
    """Volumes of about 16 x 30 x 30 voxels, with slices of 1.5 or 1.8 mm and pixels of 1 mm, in NIfTI files."""
    for case in range(TRAINING + TEST):
        rng = np.random.default_rng(case)
        shape = rng.integers((14, 26, 26), (18, 32, 32))
        image, labels = _draw(rng, shape)
        thickness = float(rng.choice([1.5, 1.8]))
        for part, array in (("images", image), ("labels", labels)):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing((1.0, 1.0, thickness))
            volume.SetOrigin((4.0, -3.0, 2.0 * case))
            _write(volume, folder, part, case, ".nii.gz")
    _describe(folder, ".nii.gz")


def write_pictures(folder: Path) -> None:
    """Pictures of about 44 x 50 pixels in PNG files."""
    for case in range(TRAINING + TEST):
        rng = np.random.default_rng(100 + case)
        image, labels = _draw(rng, np.array([1, *rng.integers((40, 46), (48, 54))]))
        for part, array in (("images", image.clip(0, 255).astype(np.uint8)), ("labels", labels)):
            _write(sitk.GetImageFromArray(array[0]), folder, part, case, ".png")
    _describe(folder, ".png")


def _draw(rng: np.random.Generator, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A body in air with a structure of two labels: int16 and uint8 (Z, Y, X)."""
    axes = [np.linspace(-1, 1, edge) if edge > 1 else np.zeros(1) for edge in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    distance = np.linalg.norm((points - rng.uniform(-0.15, 0.15, 3)) / rng.uniform(0.45, 0.65, 3), axis=-1)
    labels = (distance < 1).astype(np.uint8) + (distance < 0.5).astype(np.uint8)
    body = np.linalg.norm(points / 0.95, axis=-1) < 1
    image = np.rint((80 + 50 * labels + rng.normal(0, 25, shape)) * (body | (labels > 0)))
    return image.astype(np.int16), labels


def _write(image: sitk.Image, folder: Path, part: str, case: int, ending: str) -> None:
    """Writes a file where nnU-Net v2's raw layout has it."""
    target = folder / f"{part}{'Tr' if case < TRAINING else 'Ts'}"
    target.mkdir(parents=True, exist_ok=True)
    channel = "_0000" if part == "images" else ""
    sitk.WriteImage(image, str(target / f"case_{case}{channel}{ending}"))


def _describe(folder: Path, ending: str) -> None:
    description = {"channel_names": {"0": "MR"}, "labels": LABELS, "numTraining": TRAINING, "file_ending": ending}
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
