"""Small data sets drawn by tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.data.labels import LabelScheme
from autoseg.studies.comparison.baselines.protocol import BaselineContext

Drawn = tuple[np.ndarray, np.ndarray]


def draw_case(folder: Path, name: str, drawn: Drawn, geometry: Geometry | None = None) -> Case:
    """Writes an image (C, Z, Y, X), a file a channel, and its labels (Z, Y, X)."""
    image, labels = drawn
    geometry = Geometry() if geometry is None else geometry
    paths = tuple(folder / f"{name}_{index:04d}.nii.gz" for index in range(len(image)))
    for path, channel in zip(paths, image, strict=True):
        write_image(path, Image(channel[None].astype(np.float32), geometry))
    write_labels(folder / f"{name}.nii.gz", labels.astype(np.uint8), geometry)
    return Case(id=name, images=paths, label=folder / f"{name}.nii.gz")


def draw_dataset(
    folder: Path, cases: Sequence[Drawn], *, labels: int = 1, ignore: int | None = None, channels: str = "MR"
) -> BaselineContext:
    """A context whose training cases are these; labels are 0 to `labels`, channels all have one name."""
    training = tuple(draw_case(folder, f"case_{index:02d}", drawn) for index, drawn in enumerate(cases))
    scheme = LabelScheme(names={str(value): value for value in range(labels + 1)}, ignore=ignore)
    dataset = Dataset(
        name="Drawn",
        folder=folder,
        layout="plain",
        channels=(channels,) * len(cases[0][0]),
        labels=scheme,
        file_ending=".nii.gz",
        label_ending=".nii.gz",
        training=training,
    )
    return BaselineContext(dataset, scheme, training, seed=0, folder=folder)


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """A mask (Z, Y, X) of voxels nearer to a centre than a radius, both in voxels."""
    away = sum((axis - place) ** 2 for axis, place in zip(np.indices(shape), centre, strict=True))
    return np.asarray(away < radius**2)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two masks."""
    return float(2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second)))
