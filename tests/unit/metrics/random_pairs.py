"""Random pairs of masks and of label images with anisotropic spacing, of the kinds on which definitions part ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

SHAPES = {"3D": (9, 20, 16), "2D": (34, 27)}
LABELS = range(1, 8)
"""Of `draw_labels`: 5 is in the prediction alone, 6 in the reference alone, 7 in neither."""


@dataclass(frozen=True)
class Drawn:
    """A prediction beside its reference: boolean masks, or label images (uint8), with mm between voxel centres."""

    prediction: np.ndarray
    reference: np.ndarray
    spacing: tuple[float, ...]


def draw(kind: str, dimension: str, seed: int) -> Drawn:
    """A pair of one of `KINDS`; neither mask is empty."""
    rng = np.random.default_rng((sorted(KINDS).index(kind), len(dimension), int(dimension[0]), seed))
    prediction, reference = KINDS[kind](rng, SHAPES[dimension])
    return Drawn(prediction, reference, _spacing(rng, prediction.ndim))


def draw_labels(dimension: str, seed: int) -> Drawn:
    """Two label images with objects that touch each other and the image's edge."""
    rng = np.random.default_rng((int(dimension[0]), seed))
    shape = SHAPES[dimension]
    fields = [gaussian_filter(rng.normal(size=shape), 2) for _ in range(5)]
    images = []
    for alone in (5, 6):
        noisy = [field + 0.3 * gaussian_filter(rng.normal(size=shape), 1) for field in fields]
        labels = np.argmax(noisy, axis=0).astype(np.uint8)
        labels[tuple(slice(side // 3, side // 3 + 3) for side in shape)] = alone
        images.append(labels)
    return Drawn(*images, _spacing(rng, len(shape)))


def _spacing(rng: np.random.Generator, axes: int) -> tuple[float, ...]:
    return tuple(float(step) for step in rng.uniform(0.4, 1.2, axes) * rng.permutation([1.0, 1.7, 4.0])[:axes])


def _blobs(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Smooth objects with holes and islands."""
    common = gaussian_filter(rng.normal(size=shape), 2)
    fields = [common + 0.5 * gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(2)]
    return fields[0] > 0.6 * fields[0].std(), fields[1] > 0.8 * fields[1].std()


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Single voxels, few in the one and many in the other mask."""
    return rng.random(shape) < 0.02, rng.random(shape) < 0.3


def _on_the_edge(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Objects that the image cuts off: the reference on all sides, with cavities."""
    fields = [gaussian_filter(rng.normal(size=shape), 2) for _ in range(2)]
    return fields[0] > 0, fields[1] > -fields[1].std()


def _one_voxel(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """One voxel as the prediction of an object."""
    voxel = np.zeros(shape, bool)
    voxel[tuple(rng.integers(0, side) for side in shape)] = True
    return voxel, _blobs(rng, shape)[1]


def _far_apart(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes in opposite corners."""
    masks = np.zeros((2, *shape), bool)
    for mask, corner in zip(masks, (0, 1), strict=True):
        sides = [int(rng.integers(1, max(2, side // 3))) for side in shape]
        mask[tuple(slice(-s, None) if corner else slice(0, s) for s in sides)] = True
    return masks[0], masks[1]


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], tuple[np.ndarray, np.ndarray]]] = {
    "blobs": _blobs,
    "noise": _noise,
    "on the edge": _on_the_edge,
    "one voxel": _one_voxel,
    "far apart": _far_apart,
}
