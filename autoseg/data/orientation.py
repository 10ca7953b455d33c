"""Which way array axes run in the patient, and turning images by exchanging and reversing axes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from autoseg.data.image import CropBox, Geometry, Image, Vector

_LETTERS = (("I", "S"), ("A", "P"), ("R", "L"))
"""Letters of the world's axes (z, y, x), which run to the patient's superior, posterior and left: backward, forward."""


@dataclass(frozen=True)
class Orientation:
    """How array axes are exchanged and reversed, so that they run another way.

    Attributes:
        order: new axis i is the old axis `order[i]`.
        reversed: whether new axis i runs the other way.
    """

    order: tuple[int, int, int]
    reversed: tuple[bool, bool, bool]

    @classmethod
    def of(cls, geometry: Geometry) -> Orientation:
        """The one that leaves array axes as near to the world's as exchanging and reversing can bring them."""
        direction = np.asarray(geometry.direction)  # column j is the world direction of array axis j
        z, y, x = max(permutations(range(3)), key=lambda axes: sum(abs(direction[w, a]) for w, a in enumerate(axes)))
        back_z, back_y, back_x = (bool(direction[world, axis] < 0) for world, axis in enumerate((z, y, x)))
        return cls((z, y, x), (back_z, back_y, back_x))

    @classmethod
    def between(cls, own: str | None, wanted: str | None) -> Orientation:
        """The one that brings an image from one orientation to another.

        Args:
            own, wanted: codes as `orientation_code` gives them; where one is None the image is left as it is.
        """
        if own is None or wanted is None:
            return UNTURNED
        axes = [world for world, _ in _parse(own)]
        order = [axes.index(world) for world, _ in _parse(wanted)]
        back = [_parse(own)[axis][1] != reverse for axis, (_, reverse) in zip(order, _parse(wanted), strict=True)]
        return cls((order[0], order[1], order[2]), (back[0], back[1], back[2]))

    @property
    def changes(self) -> bool:
        """Whether anything is exchanged or reversed."""
        return self != UNTURNED

    def turn(self, array: np.ndarray) -> np.ndarray:
        """An array (..., Z, Y, X) with its last three axes turned; a view."""
        lead = array.ndim - 3
        turned = array.transpose(*range(lead), *(lead + axis for axis in self.order))
        return np.flip(turned, tuple(lead + axis for axis, back in enumerate(self.reversed) if back))

    def turn_box(self, box: CropBox, shape: Sequence[int]) -> CropBox:
        """A box ((start, stop) per axis) of an image of that shape, in the turned image."""

        def side(axis: int, back: bool) -> tuple[int, int]:
            start, stop = box[axis]
            return (shape[axis] - stop, shape[axis] - start) if back else (start, stop)

        z, y, x = (side(axis, back) for axis, back in zip(self.order, self.reversed, strict=True))
        return z, y, x

    def turn_geometry(self, geometry: Geometry, shape: Sequence[int]) -> Geometry:
        """The geometry of an image of that shape once it is turned: its voxels stay where they are in the world."""
        if not self.changes:
            return geometry
        direction, spacing = np.asarray(geometry.direction), np.asarray(geometry.spacing)
        first = np.zeros(3)  # the old index of the new first voxel
        for axis, back in zip(self.order, self.reversed, strict=True):
            first[axis] = shape[axis] - 1 if back else 0
        turned = direction[:, list(self.order)] * np.where(self.reversed, -1.0, 1.0)
        return replace(
            geometry,
            spacing=_vector(spacing[list(self.order)]),
            origin=_vector(np.asarray(geometry.origin) + direction @ (first * spacing)),
            direction=(_vector(turned[0]), _vector(turned[1]), _vector(turned[2])),
            stored=None,
        )

    def turn_image(self, image: Image) -> Image:
        """The image with its array turned; its voxels stay where they are in the world."""
        return replace(image, array=self.turn(image.array), geometry=self.turn_geometry(image.geometry, image.shape))


UNTURNED = Orientation((0, 1, 2), (False, False, False))
"""Leaves an image as it is."""


def orientation_code(geometry: Geometry) -> str | None:
    """Three letters: to which side of the patient each of the array axes (z, y, x) runs, as near as can be.

    I or S (inferior, superior), A or P (anterior, posterior), R or L (right, left): "SPL" is an axial volume as DICOM
    has it, "LSA" one that is stored in sagittal slices. None for a plane image.
    """
    if geometry.dimension == 2:
        return None
    own = Orientation.of(geometry)
    letters = [""] * 3
    for world, (axis, back) in enumerate(zip(own.order, own.reversed, strict=True)):
        letters[axis] = _LETTERS[world][not back]
    return "".join(letters)


def is_orientation_code(code: str) -> bool:
    """Whether a text has one letter for each of the three axes of the patient."""
    return len(code) == len(_LETTERS) and all(any(letter in code for letter in pair) for pair in _LETTERS)


def _parse(code: str) -> list[tuple[int, bool]]:
    """World axis of each letter and whether it runs backward."""
    return [
        next((world, pair.index(letter) == 0) for world, pair in enumerate(_LETTERS) if letter in pair)
        for letter in code
    ]


def _vector(values: np.ndarray) -> Vector:
    z, y, x = (float(value) for value in values)
    return z, y, x
