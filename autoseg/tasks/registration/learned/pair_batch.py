"""Pairs of images as a network and its loss take them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class PairBatch:
    """Pairs on the network's grid.

    Attributes:
        fixed, moving: (B, C, *S) float32, each continued by its border outside of its field of view.
        fixed_mask, moving_mask: (B, *S) bool, the fields of view; None where they fill the grid.
        fixed_labels, moving_labels: (B, *S) integer, 0 background, 1..K foreground; other values count as background.
        known_flow: (B, D, *S) voxels, for supervision by known deformations.
        weight: (B,) of the regulariser, for a plan with `hyper_range`.
    """

    fixed: Tensor
    moving: Tensor
    fixed_mask: Tensor | None = None
    moving_mask: Tensor | None = None
    fixed_labels: Tensor | None = None
    moving_labels: Tensor | None = None
    known_flow: Tensor | None = None
    weight: Tensor | None = None

    def swapped(self) -> PairBatch:
        """The same pairs, fixed for moving; a known flow, which has no inverse at hand, is left out."""
        return PairBatch(
            fixed=self.moving,
            moving=self.fixed,
            fixed_mask=self.moving_mask,
            moving_mask=self.fixed_mask,
            fixed_labels=self.moving_labels,
            moving_labels=self.fixed_labels,
            weight=self.weight,
        )
