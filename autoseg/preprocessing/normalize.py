"""Intensity normalisation: plug-ins of kind "normalization", one per channel, chosen by the channel's name.

Each takes an array (Z, Y, X) float32, which it may overwrite, the mask of voxels to normalise (None: all) and
the channel's statistics over the data set's foreground, and returns the normalised array. The rules are those
of nnU-Net v2 (Isensee et al., Nature Methods 2021).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from autoseg.data.image import IntensityStatistics
from autoseg.errors import ImageError

_SMALLEST = 1e-8  # of a divisor: a constant image becomes zero, not NaN


class Normalization(Protocol):
    """What a plug-in of kind "normalization" is."""

    def __call__(self, array: np.ndarray, mask: np.ndarray | None, statistics: IntensityStatistics) -> np.ndarray: ...


def ct(array: np.ndarray, mask: np.ndarray | None, statistics: IntensityStatistics) -> np.ndarray:
    """Clips to the data set's 0.5 and 99.5 percentiles, then subtracts its mean and divides by its deviation."""
    np.clip(array, statistics.percentile_00_5, statistics.percentile_99_5, out=array)
    array -= np.float32(statistics.mean)
    array /= np.float32(max(statistics.std, _SMALLEST))
    return array


def z_score(array: np.ndarray, mask: np.ndarray | None, statistics: IntensityStatistics) -> np.ndarray:
    """Subtracts the image's own mean and divides by its deviation; with a mask only inside it, the rest stays.

    A mask without voxels leaves the array unchanged.
    """
    if mask is None or mask.all():
        array -= array.mean()
        array /= max(array.std(), _SMALLEST)
    elif mask.any():
        inside = array[mask]
        inside -= inside.mean()
        inside /= max(inside.std(), _SMALLEST)
        array[mask] = inside
    return array


def rescale(array: np.ndarray, mask: np.ndarray | None, statistics: IntensityStatistics) -> np.ndarray:
    """Maps the image's own range to [0, 1]; a constant image becomes zero."""
    array -= array.min()
    array /= max(array.max(), _SMALLEST)
    return array


def rgb(array: np.ndarray, mask: np.ndarray | None, statistics: IntensityStatistics) -> np.ndarray:
    """Maps 8-bit values 0..255 to [0, 1].

    Raises:
        ImageError: a value outside 0..255.
    """
    low, high = array.min(), array.max()
    if low < 0 or high > 255:
        raise ImageError(
            "the channel is normalised as 8-bit colour but has other values",
            got=f"{low:g} to {high:g}",
            expected="0 to 255",
            remedy='name the channel otherwise in dataset.json (any name but "rgb_to_0_1" gives z-scores)',
        )
    array /= np.float32(255)
    return array


def none(array: np.ndarray, mask: np.ndarray | None, statistics: IntensityStatistics) -> np.ndarray:
    """Leaves the intensities as they are."""
    return array
