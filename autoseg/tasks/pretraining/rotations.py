"""Rotations by right angles, which move voxels and interpolate none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product

import numpy as np
import torch
from torch import Tensor

ALIKE = 1.5
"""Axes are exchanged only where the spacing of one is at most this many times that of the other."""


@dataclass(frozen=True)
class Turn:
    """A rotation by right angles: `image.permute(axes)`, then reversed along `flips` (spatial axes, 0 first)."""

    axes: tuple[int, ...]
    flips: tuple[int, ...]

    def apply(self, image: Tensor) -> Tensor:
        """An image (C, *space) turned; axes that are exchanged exchange their lengths."""
        turned = image.permute(0, *(axis + 1 for axis in self.axes))
        return torch.flip(turned, [axis + 1 for axis in self.flips])

    @property
    def matrix(self) -> np.ndarray:
        """(D, D) from offsets in the turned image to offsets in the image; its determinant is 1."""
        matrix = np.zeros((len(self.axes),) * 2)
        for new, old in enumerate(self.axes):
            matrix[old, new] = -1 if new in self.flips else 1
        return matrix


@lru_cache
def right_angles(dimension: int) -> tuple[Turn, ...]:
    """All rotations by right angles, the identity first: 4 of a square, 24 of a cube."""
    turns = []
    for axes in permutations(range(dimension)):
        for bits in product((False, True), repeat=dimension):
            turn = Turn(axes, tuple(axis for axis, flipped in enumerate(bits) if flipped))
            if np.linalg.det(turn.matrix) > 0:
                turns.append(turn)
    return tuple(turns)


def possible_turns(spacing: Sequence[float]) -> tuple[Turn, ...]:
    """Those rotations that exchange only axes of like spacing: with thick slices 8 of the 24.

    An axis that is sampled more coarsely would tell the rotation by its look.
    """

    def alike(one: int, other: int) -> bool:
        a, b = sorted((spacing[one], spacing[other]))
        return b <= ALIKE * a

    return tuple(
        turn for turn in right_angles(len(spacing)) if all(alike(new, old) for new, old in enumerate(turn.axes))
    )
