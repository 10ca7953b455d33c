"""Patches of the training cases for the networks among the baselines: z-scores, no resampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.studies.comparison.baselines.examples import examples
from autoseg.studies.comparison.baselines.protocol import BaselineContext

Shape = tuple[int, int, int]

_PLACES = 10_000  # foreground voxels remembered of a case
_LARGEST = 60_000.0  # that half precision holds


@dataclass(frozen=True)
class PatchCase:
    """A training case, mapped from files: only the parts that are read take memory.

    Attributes:
        image: (C, Z, Y, X) float16, standardised.
        labels: (Z, Y, X) int16, training values.
        foreground: (n, 3) places (z, y, x) of annotated foreground; perhaps none.
    """

    image: np.ndarray
    labels: np.ndarray
    foreground: np.ndarray


def standardised(array: np.ndarray) -> np.ndarray:
    """Each channel of an image (C, Z, Y, X) with mean 0 and deviation 1, float32; a constant one becomes 0."""
    array = array.astype(np.float32)
    mean = array.mean((1, 2, 3), keepdims=True, dtype=np.float64)
    deviation = array.std((1, 2, 3), keepdims=True, dtype=np.float64)
    result: np.ndarray = ((array - mean) / np.maximum(deviation, 1e-8)).astype(np.float32)
    return result


def in_half_precision(array: np.ndarray) -> np.ndarray:
    """`standardised` as float16, outliers beyond its range cut off: as precise as intensities are."""
    return np.clip(standardised(array), -_LARGEST, _LARGEST).astype(np.float16)


def store_training_cases(context: BaselineContext) -> list[PatchCase]:
    """Writes the training cases into the context's folder and maps them."""
    values = len(context.labels.values)
    stored = []
    for number, example in enumerate(examples(context)):
        folder = context.folder / f"training_{number:04d}"
        folder.mkdir(exist_ok=True)
        foreground = np.argwhere((example.labels > 0) & (example.labels < values))
        if len(foreground) > _PLACES:
            chosen = np.random.default_rng((context.seed, number)).choice(len(foreground), _PLACES, replace=False)
            foreground = foreground[chosen]
        image, labels = (
            _mapped(folder / "image.npy", in_half_precision(example.image.array)),
            _mapped(folder / "labels.npy", example.labels),
        )
        stored.append(PatchCase(image, labels, foreground.astype(np.int32)))
    return stored


def are_planes(cases: Sequence[PatchCase]) -> bool:
    """Whether all images have one slice."""
    return all(case.labels.shape[0] == 1 for case in cases)


def cut(array: np.ndarray, start: Sequence[int], size: Shape) -> np.ndarray:
    """A box of the last three axes that may reach beyond the array, where it holds zeros; a copy.

    Args:
        array: (..., Z, Y, X).
        start: first voxel (z, y, x), also negative.
        size: of the box.
    """
    box = np.zeros((*array.shape[:-3], *size), array.dtype)
    source: list[slice] = []
    target: list[slice] = []
    for first, length, extent in zip(start, size, array.shape[-3:], strict=True):
        low, high = max(0, first), min(extent, first + length)
        if low >= high:
            return box
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    z, y, x = target
    box[..., z, y, x] = array[..., source[0], source[1], source[2]]
    return box


def around(centre: Sequence[int], size: Shape, extent: Sequence[int]) -> list[int]:
    """First voxel of a box around a place, moved so that it lies in the image where that is large enough."""
    starts = []
    for middle, length, whole in zip(centre, size, extent, strict=True):
        spare = whole - length
        starts.append(spare // 2 if spare < 0 else int(np.clip(middle - length // 2, 0, spare)))
    return starts


def windows(shape: Shape, size: Shape) -> Iterator[tuple[slice, slice, slice]]:
    """Boxes of at most `size` that cover a shape once."""
    axes = [[slice(a, min(a + n, length)) for a in range(0, length, n)] for n, length in zip(size, shape, strict=True)]
    for z in axes[0]:
        for y in axes[1]:
            yield from ((z, y, x) for x in axes[2])


def _mapped(path: Path, array: np.ndarray) -> np.ndarray:
    np.save(path, array)
    mapped: np.ndarray = np.load(path, mmap_mode="r")
    return mapped
