"""Where the classes are: sampled voxel coordinates of each foreground class or region of a case."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from autoseg.data.labels import OUTSIDE, LabelScheme

ANNOTATED = "annotated"
"""Name of the voxels that are not ignored; kept only where there is an ignore label."""

_SEED = 1234
_AT_LEAST = 10_000  # voxels per class, as far as it has so many ...
_COVERAGE = 0.01  # ... and no less than this share of them


def class_locations(labels: np.ndarray, scheme: LabelScheme) -> dict[str, np.ndarray]:
    """Coordinates of voxels drawn uniformly, without replacement, from each foreground class or region.

    The number drawn and the draw itself are nnU-Net v2's (all voxels up to 10 000, else 10 000 or 1 %).

    Args:
        labels: (Z, Y, X) training values.
        scheme: says which values make a class or region, and whether some voxels are ignored.

    Returns:
        name -> (N, 3) int16, or int32 where an axis is longer than int16 counts; N = 0 for an absent class. With
        an ignore label also `ANNOTATED`.
    """
    values_of: dict[str, tuple[int, ...]] = dict(scheme.training_foreground)
    if scheme.training_ignore is not None:
        values_of[ANNOTATED] = (OUTSIDE, *range(len(scheme.values)))
    by_value = _voxels_by_value(labels, {value for values in values_of.values() for value in values})
    rng = np.random.RandomState(_SEED)
    dtype = np.int16 if max(labels.shape) <= np.iinfo(np.int16).max else np.int32
    locations = {}
    for name, values in values_of.items():
        voxels = np.concatenate([by_value[value] for value in values])
        if len(voxels):
            count = max(min(_AT_LEAST, len(voxels)), math.ceil(len(voxels) * _COVERAGE))
            voxels = voxels[rng.choice(len(voxels), count, replace=False)]
        locations[name] = np.stack(np.unravel_index(voxels, labels.shape), axis=1).astype(dtype)
    return locations


def _voxels_by_value(labels: np.ndarray, values: set[int]) -> Mapping[int, np.ndarray]:
    """Flat indices of the voxels of each value, ascending."""
    flat = labels.ravel()
    # background fills most of an image and is seldom asked for: sort only what is
    smallest = min(values, default=1)
    voxels = np.flatnonzero(flat >= smallest)
    voxel_values = flat[voxels]
    order = np.argsort(voxel_values, kind="stable")
    ordered = voxel_values[order]
    starts = {v: np.searchsorted(ordered, (v, v + 1)) for v in values}
    return {value: voxels[order[start:stop]] for value, (start, stop) in starts.items()}
