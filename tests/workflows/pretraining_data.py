"""Small volumes and pictures with labels, test images, and copies of some under other names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_runs import small_networks

from autoseg.cli.main import run
from autoseg.data.files import write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.workspace import Run

QUICK = ("--device", "cpu", "--workers", "0", "--set", "training.round_steps=2")


def blobs(seed: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A bright ellipse with a core, (1, Z, Y, X) int16, and its labels (Z, Y, X)."""
    rng = np.random.default_rng(seed)
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    middle, radius = rng.uniform(-0.2, 0.2, 3), rng.uniform(0.5, 0.7, 3)
    place = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    distance = np.linalg.norm((place - middle) / radius, axis=-1)
    labels = (distance < 1).astype(np.uint8) + (distance < 0.5)
    return np.rint(100 + 60 * labels + rng.normal(0, 10, shape)).astype(np.int16)[None], labels


def write_data(folder: Path, shape: tuple[int, int, int] = (16, 18, 20)) -> Path:
    """Six labelled images and two for testing; a third test image has the voxels of v3 in another type and place."""
    plane = shape[0] == 1
    geometry = Geometry.plane() if plane else Geometry(origin=(4.0, -3.0, 2.0))
    ending = ".tif" if plane else ".nii.gz"
    for seed in range(6):
        array, labels = blobs(seed, shape)
        write_image(folder / "images" / f"v{seed}{ending}", Image(array, geometry))
        write_labels(folder / "labels" / f"v{seed}{ending}", labels, geometry)
    for seed in (6, 7):
        write_image(folder / "imagesTs" / f"t{seed}{ending}", Image(blobs(seed, shape)[0], geometry))
    moved = geometry if plane else Geometry(origin=(0.0, 7.0, 0.0))
    copy = Image(blobs(3, shape)[0].astype(np.float32), moved)
    write_image(folder / "imagesTs" / f"copy{ending}", copy)
    return folder


def planned(data: Path, out: Path) -> Path:
    """A run for segmentation, planned for narrow networks."""
    assert run(["fingerprint", str(data), "--out", str(out), "--workers", "1"]) == 0
    assert run(["plan", str(out), "--planner", "default"]) == 0
    small_networks(Run(out))
    return out
