"""Intensities that mean the same in every case, for methods that learn a value and use it on other images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoseg.data.crop import nonzero_mask
from autoseg.data.image import Geometry, Image

TAILS = (0.5, 99.5)
"""Percentiles outside which intensities are clipped: a few bright voxels would move mean and deviation."""

_SAMPLE = 1_000_000  # voxels that suffice for percentiles
_HOUNSFIELD = 100.0  # Hounsfield units per step, so that CT has numbers of the size of z-scores


@dataclass(frozen=True)
class Normalized:
    """An image ready for comparison with others.

    Attributes:
        array: float32 (C, Z, Y, X), finite.
        inside: bool (Z, Y, X), the non-zero region; methods predict background elsewhere.
        geometry: of the image.
    """

    array: np.ndarray
    inside: np.ndarray
    geometry: Geometry


def normalize(image: Image, channels: tuple[str, ...]) -> Normalized:
    """Robust z-scores per channel, and CT in units of 100 HU.

    Intensities are clipped to the percentiles `TAILS` of the non-zero region; then its mean is subtracted and all is
    divided by its deviation. Hounsfield units are comparable as they are. Constant channels become 0, and so do voxels
    that are not finite.

    Args:
        channels: a name per channel of the image; "CT" in any case is CT.
    """
    raw = np.nan_to_num(image.array.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    inside = nonzero_mask(raw)
    for name, channel in zip(channels, raw, strict=True):
        values = channel[inside]
        if not values.size:
            continue
        low, high = np.percentile(values[:: max(1, values.size // _SAMPLE)], TAILS)
        np.clip(values, low, high, out=values)
        np.clip(channel, low, high, out=channel)
        if name.casefold() == "ct":
            channel /= np.float32(_HOUNSFIELD)
            continue
        deviation = values.std(dtype=np.float64)
        channel -= np.float32(values.mean(dtype=np.float64))
        channel /= np.float32(deviation if deviation > 0 else 1.0)
    return Normalized(raw, inside, image.geometry)
