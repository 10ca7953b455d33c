"""Laying one image on another of the same kind by ITK, for atlases: prepared images, centres, affine, deformation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from autoseg.data import itk
from autoseg.data.image import Geometry, Image, Vector

_FINE_VOXELS, _COARSE_VOXELS = 100_000, 12_000
"""Voxels at most of the grids for the deformation, and for similarity, affine registration and its first half."""

_SHORTEST = 8  # voxels: an axis is not shortened below
_PERCENTILES = (0.5, 99.5)  # of an image, mapped to 0 and 1: what lies beyond are outliers
_AFFINE_STEPS = 100
_DEMONS_STEPS = (60, 30)  # on the coarse and the fine grid


@dataclass(frozen=True)
class Pyramid:
    """What registration sees of an image.

    Attributes:
        fine, coarse: one channel, float32 from 0 to 1, on smaller grids in the same world.
        geometry, shape: of the image itself; a volume of one slice is a plane here, in the world of its pixels.
    """

    fine: Image
    coarse: Image
    geometry: Geometry
    shape: tuple[int, int, int]


def pyramid(image: Image, channel: int = 0) -> Pyramid:
    """An image prepared for registration.

    Args:
        image: (C, Z, Y, X) of any number type.
        channel: the one that is registered.
    """
    geometry = image.geometry
    if image.shape[0] == 1:
        geometry = Geometry.plane(geometry.spacing[1:])
    fine = _shrink(Image(image.array[channel, None], geometry), _FINE_VOXELS)
    fine = fine.with_array(_scaled(fine.array))
    return Pyramid(fine, _shrink(fine, _COARSE_VOXELS), geometry, image.shape)


def centre(fixed: Pyramid, moving: Pyramid) -> itk.Alignment:
    """The better of two translations, by `similarity`: fields of view, or centres of mass, on each other."""
    candidates = [itk.centred(fixed.coarse, moving.coarse, by_mass=mass) for mass in (False, True)]
    return max(candidates, key=lambda alignment: similarity(fixed, moving, alignment))


def affine(fixed: Pyramid, moving: Pyramid, start: itk.Alignment) -> itk.Alignment:
    """The affine alignment found from `start`; `start` where that is more similar."""
    transform = itk.register_affine(fixed.coarse, moving.coarse, start, iterations=_AFFINE_STEPS)
    return max((transform, start), key=lambda alignment: similarity(fixed, moving, alignment))


def deform(fixed: Pyramid, moving: Pyramid, start: itk.Alignment) -> itk.Alignment:
    """`start` and a free deformation after it (demons, from coarse to fine); `start` where that is more similar."""
    coarse, fine = _DEMONS_STEPS
    levels = [(fixed.coarse, moving.coarse, coarse), (fixed.fine, moving.fine, fine)]
    field = itk.register_demons(levels, start)
    return max((field, start), key=lambda alignment: similarity(fixed, moving, alignment))


def similarity(fixed: Pyramid, moving: Pyramid, alignment: itk.Alignment) -> float:
    """How much an aligned image resembles the fixed one, on the coarse grid.

    Pearson's correlation of the intensities over the whole fixed image. The moving one is continued with its outermost
    voxels, so that a small common part that happens to fit does not win. From -1 to 1; 0 where one of them is constant.
    """
    target = fixed.coarse
    second = itk.resample(moving.coarse, target.geometry, target.shape, alignment, nearest=False, outside=None)
    first, second = target.array[0] - target.array.mean(), second - second.mean()
    norm = float(np.sqrt((first * first).sum() * (second * second).sum()))
    return float((first * second).sum()) / norm if norm > 1e-6 else 0.0


def warp_labels(labels: np.ndarray, fixed: Pyramid, moving: Pyramid, alignment: itk.Alignment) -> np.ndarray:
    """Labels of the moving image on the fixed image's own voxels.

    Args:
        labels: integers (Z, Y, X) on the moving image's voxels.

    Returns:
        (Z, Y, X) of the same dtype; each voxel has its nearest one's value, 0 where the moving image does not reach.
    """
    image = Image(labels[None], moving.geometry)
    return itk.resample(image, fixed.geometry, fixed.shape, alignment, nearest=True, outside=0)


def _scaled(array: np.ndarray) -> np.ndarray:
    """Intensities from 0 to 1, float32; a constant array becomes 0."""
    array = array.astype(np.float32)
    low, high = np.percentile(array, _PERCENTILES)
    if high <= low:  # nearly all voxels are alike; the others are what there is to see
        low, high = array.min(), array.max()
    scaled: np.ndarray = np.clip((array - low) / max(high - low, 1e-8), 0, 1).astype(np.float32)
    return scaled


def _shrink(image: Image, voxels: int) -> Image:
    """The image on a grid of at most so many voxels: means over blocks, the densest axis shortened first."""
    factors = [1, 1, 1]
    while np.prod(_shrunk(image.shape, factors)) > voxels:
        spacing = [s * f for s, f in zip(image.geometry.spacing, factors, strict=True)]
        longer = [axis for axis, length in enumerate(_shrunk(image.shape, factors)) if length >= 2 * _SHORTEST]
        if not longer:
            break
        factors[min(longer, key=lambda axis: spacing[axis])] += 1
    return image if factors == [1, 1, 1] else _block_means(image, factors)


def _shrunk(shape: tuple[int, int, int], factors: list[int]) -> list[int]:
    return [-(-length // factor) for length, factor in zip(shape, factors, strict=True)]


def _block_means(image: Image, factors: list[int]) -> Image:
    """Means over blocks of `factors` voxels; the last block of an axis may repeat the image's last voxels."""
    array = image.array[0]
    missing = [-length % factor for length, factor in zip(image.shape, factors, strict=True)]
    if any(missing):
        array = np.pad(array, [(0, more) for more in missing], mode="edge")
    for axis, factor in enumerate(factors):
        shape = array.shape
        array = array.reshape(*shape[:axis], shape[axis] // factor, factor, *shape[axis + 1 :])
        array = array.mean(axis + 1, dtype=np.float32)
    return Image(array[None], _coarser(image.geometry, factors))


def _coarser(geometry: Geometry, factors: list[int]) -> Geometry:
    """The geometry of blocks: the first one's centre lies (factor - 1) / 2 voxels behind the first voxel's."""
    step = np.multiply(geometry.spacing, np.subtract(factors, 1) / 2)
    origin = np.add(geometry.origin, np.asarray(geometry.direction) @ step)
    return replace(geometry, spacing=_vector(np.multiply(geometry.spacing, factors)), origin=_vector(origin))


def _vector(values: np.ndarray) -> Vector:
    z, y, x = (float(value) for value in values)
    return z, y, x
