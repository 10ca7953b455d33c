"""Which part of an image each view shows: boxes in voxels, sizes in mm, drawn before a voxel is read.

A view is a box of the image, turned and mirrored, on the grid of the network's patch. Boxes are copies of the patch
scaled alike along all axes, so that the shape of things in mm is kept; across slices that are much thicker than a pixel
nothing is scaled or turned, since that would blur them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, radians
from typing import Any

import numpy as np

from autoseg.batches.augment.spatial import rotation
from autoseg.tasks.pretraining.presets import ViewPreset

Shape = tuple[int, ...]

THICK = 3.0
"""Slices this many times thicker than the finest axis are kept as they are (the planner's bound of anisotropy)."""

_ATTEMPTS = 50


@dataclass(frozen=True)
class Crop:
    """A box of an image: first voxel and voxels along each axis. It may reach beyond the image, where all is 0."""

    start: tuple[int, ...]
    size: Shape

    @property
    def voxels(self) -> int:
        """How many it has."""
        return prod(self.size)

    @property
    def centre(self) -> tuple[float, ...]:
        """Its midpoint, voxel centres at integers."""
        return tuple(first + (n - 1) / 2 for first, n in zip(self.start, self.size, strict=True))


@dataclass(frozen=True)
class Frame:
    """The grid of a view: voxels along each axis, and mm between them in the image at full size."""

    size: Shape
    spacing: tuple[float, ...]

    @property
    def free(self) -> tuple[int, ...]:
        """Axes that may be scaled and turned: all but those of thick slices."""
        finest = min(self.spacing)
        return tuple(axis for axis, step in enumerate(self.spacing) if step <= THICK * finest)


@dataclass(frozen=True)
class View:
    """One view of an image.

    Attributes:
        crop: what it shows, before turning.
        size: voxels of the view.
        matrix: offsets of the view's voxels from its middle -> offsets of the image's voxels from the crop's.
        flips: spatial axes that are mirrored.
        values: parameters of each transform of the preset; None where it is passed over. Empty: values stay.
    """

    crop: Crop
    size: Shape
    matrix: tuple[tuple[float, ...], ...]
    flips: tuple[int, ...] = ()
    values: tuple[Any | None, ...] = ()

    @property
    def reach(self) -> Crop:
        """The box of the image that the view takes values from, with a margin of a voxel for interpolation."""
        half = np.abs(np.asarray(self.matrix)) @ ((np.asarray(self.size) - 1) / 2)
        low = np.floor(np.asarray(self.crop.centre) - half).astype(int) - 1
        high = np.ceil(np.asarray(self.crop.centre) + half).astype(int) + 1
        return Crop(tuple(low.tolist()), tuple((high - low + 1).tolist()))


def overlap(one: Crop, other: Crop) -> int:
    """Voxels that two boxes share."""
    shared = 1
    for a, n, b, m in zip(one.start, one.size, other.start, other.size, strict=True):
        shared *= max(0, min(a + n, b + m) - max(a, b))
    return shared


def overlap_share(one: Crop, other: Crop) -> float:
    """Share of the smaller of two boxes that lies in the other, from 0 to 1."""
    return overlap(one, other) / min(one.voxels, other.voxels)


def around(crops: Sequence[Crop]) -> Crop:
    """The smallest box that holds all of these, at least one."""
    low = np.min([crop.start for crop in crops], axis=0)
    high = np.max([np.add(crop.start, crop.size) for crop in crops], axis=0)
    return Crop(tuple(low.tolist()), tuple((high - low).tolist()))


def draw_crop(rng: np.random.Generator, within: Crop, frame: Frame, scale: tuple[float, float]) -> Crop:
    """A crop whose volume in mm is a uniform multiple of the frame's, anywhere within a box.

    All free axes are scaled alike, to whole voxels. A crop that is longer than the box lies around its middle.

    Args:
        rng: what is drawn from.
        within: the box that holds the crop.
        frame: grid of the view; its volume in mm is that of scale 1.
        scale: least and greatest multiple of the volume.
    """
    size = _scaled(rng, frame, scale)
    start = [
        first + (int(rng.integers(room + 1)) if (room := length - n) >= 0 else -(-room // 2))
        for first, length, n in zip(within.start, within.size, size, strict=True)
    ]
    return Crop(tuple(start), size)


def draw_pair(
    rng: np.random.Generator, within: Crop, frame: Frame, scale: tuple[float, float], least_overlap: float
) -> tuple[Crop, Crop]:
    """Two crops of which the smaller lies in the other by at least that share.

    The second is drawn anew until it does; where it never does, it is laid around the middle of the first.

    Args:
        rng: what is drawn from.
        within: the box that holds the crops.
        frame: grid of the view; its volume in mm is that of scale 1.
        scale: least and greatest multiple of the volume.
        least_overlap: share in [0, 1] of the smaller crop.
    """
    first = draw_crop(rng, within, frame, scale)
    for _ in range(_ATTEMPTS):
        second = draw_crop(rng, within, frame, scale)
        if overlap_share(first, second) >= least_overlap:
            return first, second
    start = tuple(a + (n - m) // 2 for a, n, m in zip(first.start, first.size, second.size, strict=True))
    return first, Crop(start, second.size)


def whole(shape: Sequence[int]) -> Crop:
    """The box of a whole image of that spatial shape."""
    return Crop((0,) * len(shape), tuple(shape))


def plain_view(crop: Crop, size: Shape) -> View:
    """A crop on a grid of that size, neither turned nor mirrored."""
    zooms = [n / m for n, m in zip(crop.size, size, strict=True)]
    return View(crop, size, tuple(tuple(row) for row in np.diag(zooms).tolist()))


def draw_view(
    rng: np.random.Generator,
    crop: Crop,
    frame: Frame,
    preset: ViewPreset,
    channels: int,
    *,
    pose: bool = True,
    values: bool = True,
) -> View:
    """A crop as a view, with what the preset says drawn for it.

    Args:
        crop: what it shows.
        frame: the view's grid.
        channels: of the image.
        pose: whether it may be turned and mirrored.
        values: whether its values may be changed.
    """
    view = plain_view(crop, frame.size)
    matrix, flips = view.matrix, view.flips
    if pose:
        if preset.rotation_degrees > 0 and rng.random() < preset.rotation_probability:
            turned = _rotation(rng, frame, preset.rotation_degrees) @ np.asarray(matrix)
            matrix = tuple(tuple(row) for row in turned.tolist())
        flips = tuple(axis for axis in preset.flip_axes(len(frame.size)) if rng.random() < 0.5)
    drawn = tuple(preset.policy.draw(rng, (channels, *frame.size))) if values else ()
    return View(crop, frame.size, matrix, flips, drawn)


def _scaled(rng: np.random.Generator, frame: Frame, scale: tuple[float, float]) -> Shape:
    zoom = rng.uniform(*scale) ** (1 / len(frame.free))
    return tuple(max(1, round(n * zoom)) if axis in frame.free else n for axis, n in enumerate(frame.size))


def _rotation(rng: np.random.Generator, frame: Frame, degrees: float) -> np.ndarray:
    """A rotation in mm as a map of voxel offsets; in the plane of two free axes, or about each of three."""
    free, limit = frame.free, radians(degrees)
    result = np.eye(len(frame.size))
    if len(free) < 2:
        return result
    turn = rotation(rng.uniform(-limit, limit, 1 if len(free) == 2 else 3))
    spacing = np.asarray(frame.spacing)[list(free)]
    result[np.ix_(free, free)] = turn * spacing[None, :] / spacing[:, None]
    return result
