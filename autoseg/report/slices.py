"""Which slice of a case tells most, and how it is turned for the eye."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoseg.data.image import Geometry

_PLANES = ("axial", "coronal", "sagittal")
"""Name of a slice across each axis of the patient's world, in the order (z, y, x)."""


@dataclass(frozen=True)
class SliceView:
    """One case, turned so that slices stand as radiologists look at them, where the geometry allows.

    Attributes:
        image: shape (C, Z, Y, X).
        reference, prediction: label values, shape (Z, Y, X).
        spacing: mm, (z, y, x) of the turned arrays.
        planes: name of a slice across each axis.
        flipped: whether the index along an axis was reversed, so that captions name the file's own index.
        order: axis of the file's array that each turned axis was.
    """

    image: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray
    spacing: tuple[float, ...]
    planes: tuple[str, str, str]
    flipped: tuple[bool, bool, bool]
    order: tuple[int, int, int]


def telling_slice(
    reference: np.ndarray, prediction: np.ndarray, axis: int, ignored: np.ndarray | None = None
) -> tuple[int, int]:
    """Index along `axis` of the slice where two label images differ in most voxels, and how many differ there.

    Where they are equal it is the slice with the largest foreground; without any, the middle one. Ties go to the
    first slice.

    Args:
        reference, prediction: label values, shape (Z, Y, X); 0 is background.
        ignored: mask of voxels that do not count, same shape.
    """
    across = tuple(other for other in range(3) if other != axis)
    differing = reference != prediction
    if ignored is not None:
        differing &= ~ignored
    counts = differing.sum(axis=across)
    if counts.any():
        return int(counts.argmax()), int(counts.max())
    areas = (reference != 0).sum(axis=across)
    return (int(areas.argmax()), 0) if areas.any() else (reference.shape[axis] // 2, 0)


def turn(image: np.ndarray, reference: np.ndarray, prediction: np.ndarray, geometry: Geometry) -> SliceView:
    """The arrays with axes along the patient's (z, y, x), head up and the patient's left on the right.

    An oblique volume is turned to the nearest of these positions. Plane images are left as they are.

    Args:
        image: (Z, Y, X).
        reference: labels of the same shape.
        prediction: labels of the same shape.
        geometry: of the image.
    """
    order, flipped = _orientation(geometry)
    planes = ("plane", "plane", "plane") if geometry.dimension == 2 else _PLANES

    def turned(array: np.ndarray) -> np.ndarray:
        lead = array.ndim - 3
        array = np.transpose(array, [*range(lead), *(axis + lead for axis in order)])
        return np.flip(array, tuple(axis + lead for axis in range(3) if flipped[axis]))

    return SliceView(
        image=turned(image),
        reference=turned(reference),
        prediction=turned(prediction),
        spacing=tuple(geometry.spacing[axis] for axis in order),
        planes=planes,
        flipped=flipped,
        order=order,
    )


def field_of_view(view: SliceView, axis: int, margin: float = 0.5) -> tuple[slice, slice]:
    """The part of the slices across `axis` to show: the box around both segmentations in all slices, widened.

    Small structures in large scans would be specks otherwise. The box grows by `margin` of its size on each side, and
    its shorter side to half the longer one in mm, since slivers are hard to read. It stays inside the image; without
    foreground it is the whole slice.
    """
    foreground = ((view.reference != 0) | (view.prediction != 0)).any(axis=axis)
    if not foreground.any():
        return slice(None), slice(None)
    spacing = [step for other, step in enumerate(view.spacing) if other != axis]
    bounds = [np.flatnonzero(foreground.any(axis=1 - side))[[0, -1]] + (0, 1) for side in (0, 1)]
    extent = [(stop - start) * step * (1 + 2 * margin) for (start, stop), step in zip(bounds, spacing, strict=True)]
    box = []
    for (start, stop), step, length in zip(bounds, spacing, foreground.shape, strict=True):
        size = max((stop - start) * (1 + 2 * margin), max(extent) / 2 / step)
        wider = int(np.ceil((size - (stop - start)) / 2))
        box.append(slice(max(0, int(start) - wider), min(length, int(stop) + wider)))
    return box[0], box[1]


def _orientation(geometry: Geometry) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """For each world axis (z, y, x) the array axis nearest to it, and whether that must be reversed for display."""
    if geometry.dimension == 2:
        return (0, 1, 2), (False, False, False)
    direction = np.asarray(geometry.direction, dtype=float)
    order = [int(np.abs(direction[world]).argmax()) for world in range(3)]
    if sorted(order) != [0, 1, 2]:
        order = [0, 1, 2]
    # World axes point to the head, the back and the left of the patient. A picture's rows run downwards, its
    # columns to the right: back and left are right already, the head must come first.
    directions = (-1.0, 1.0, 1.0)
    flipped = [bool(direction[world, order[world]] * directions[world] < 0) for world in range(3)]
    return (order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2])
