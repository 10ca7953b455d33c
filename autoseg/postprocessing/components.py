"""Connected components of a label image: the largest is kept, the rest becomes background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cc3d
import numpy as np

CONNECTIVITY: Final = 26
"""Neighbours that connect two voxels: faces, edges and corners; in a plane image (Z = 1) that makes 8."""


def keep_largest(labels: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Keeps the largest connected component of the union of some labels.

    Components of equal, largest size are all kept, as nnU-Net does: nothing says which of them is the object.

    Args:
        labels: integer array (Z, Y, X), training values.
        values: labels that make up the object; they connect to each other.

    Returns:
        A copy in which voxels of `values` outside the largest component are 0. Other labels are untouched, and an
        image without these labels comes back equal.
    """
    mask = np.isin(labels, list(values))
    result = labels.copy()
    if not mask.any():
        return result
    components = label_components(mask)
    sizes = np.bincount(components.ravel())
    dropped = sizes < sizes[1:].max()
    dropped[0] = False
    result[dropped[components]] = 0
    return result


def label_components(labels: np.ndarray) -> np.ndarray:
    """Numbers the connected sets of voxels of equal value from 1; zeros stay 0. Shape as the input's (Z, Y, X)."""
    # As bytes, since cc3d (4.1) fails on boolean images of single voxels packed as densely as they can be.
    labels = labels.view(np.uint8) if labels.dtype == bool else labels
    return cc3d.connected_components(np.ascontiguousarray(labels), connectivity=CONNECTIVITY)
