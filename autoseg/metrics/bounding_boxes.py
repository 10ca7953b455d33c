"""Boxes that hold the voxels of masks and of labels: most of an image is background that need not be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Integer, Shaped

BoundingBox = tuple[slice, ...]

_BITS = 64  # of the widest machine word: labels whose places are gathered in one look


def joint_box(prediction: Shaped[np.ndarray, "*space"], reference: Shaped[np.ndarray, "*space"]) -> BoundingBox | None:
    """The smallest box that holds the non-zero voxels of both arrays, of one shape; None if there are none."""
    return mask_box((prediction != 0) | (reference != 0))


def mask_box(mask: Bool[np.ndarray, "_ ..."]) -> BoundingBox | None:
    """The smallest box that holds the True voxels of a mask with one or more axes; None if there are none."""
    indices = np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1)) if mask.size else np.zeros(0)
    if not len(indices):
        return None
    first = slice(int(indices[0]), int(indices[-1]) + 1)
    if mask.ndim == 1:
        return (first,)
    rest = mask_box(np.logical_or.reduce(mask[first], axis=0))
    return None if rest is None else (first, *rest)


class Extents:
    """Gathers, row by row, where each label lies in a pair of label images.

    Each voxel becomes a set of bits, one per label that either image has there. The sets are joined along all axes but
    one, so that all labels together cost one look at the voxels.

    Args:
        classes: one more than the largest label.
        shape: of either image.
    """

    def __init__(self, classes: int, shape: tuple[int, ...]) -> None:
        self._groups = [_Group(first, classes, shape) for first in range(1, classes, _BITS)]

    def add(
        self,
        prediction: Integer[np.ndarray, " rows *plane"],
        reference: Integer[np.ndarray, " rows *plane"],
        start: int,
    ) -> None:
        """Takes rows from `start` of the first axis."""
        for group in self._groups:
            group.add(prediction, reference, start)

    def boxes(self) -> dict[int, BoundingBox]:
        """Label -> box of all its voxels so far; labels that were not seen are left out."""
        return {label: box for group in self._groups for label, box in group.boxes().items()}


class _Group:
    """Up to `_BITS` labels from `first`."""

    def __init__(self, first: int, classes: int, shape: tuple[int, ...]) -> None:
        self._labels = range(first, min(first + _BITS, classes))
        word = next(word for word in (np.uint8, np.uint16, np.uint32, np.uint64) if len(self._labels) <= _width(word))
        bits: np.ndarray = np.zeros(classes, word)
        bits[first : self._labels.stop] = np.left_shift(word(1), np.arange(len(self._labels), dtype=word))
        self._bits = bits
        self._rows = np.zeros(shape[0], word)
        self._plane = np.zeros(shape[1:], word)

    def add(self, prediction: np.ndarray, reference: np.ndarray, start: int) -> None:
        sets = np.take(self._bits, prediction) | np.take(self._bits, reference)
        self._rows[start : start + len(sets)] = np.bitwise_or.reduce(sets.reshape(len(sets), -1), axis=1)
        self._plane |= np.bitwise_or.reduce(sets, axis=0)

    def boxes(self) -> dict[int, BoundingBox]:
        axes = range(self._plane.ndim)
        others = [tuple(other for other in axes if other != axis) for axis in axes]
        lines = [self._rows, *(np.bitwise_or.reduce(self._plane, axis=other) for other in others)]
        boxes = {}
        for label in self._labels:
            indices = [np.flatnonzero(line & self._bits[label]) for line in lines]
            if len(indices[0]):
                boxes[label] = tuple(slice(int(line_indices[0]), int(line_indices[-1]) + 1) for line_indices in indices)
        return boxes


def _width(word: type[np.unsignedinteger]) -> int:
    return 8 * np.dtype(word).itemsize
