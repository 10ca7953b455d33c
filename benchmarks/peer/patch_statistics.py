"""What is measured of a patch, in the interpreters of both sides: numpy alone."""

from __future__ import annotations

import numpy as np

NAMES = ("mean", "deviation", "least value", "greatest value", "gradient energy", "foreground", "rarest label")


def describe(image: np.ndarray, labels: np.ndarray, foreground: int) -> list[float]:
    """One figure for each of `NAMES`.

    Args:
        image: float32 (C, *spatial), of which the first channel counts.
        labels: integer (*spatial), 0 being background.
        foreground: the largest label, taken as the rarest.
    """
    first = image[0]
    energy = np.mean([np.square(np.diff(first, axis=axis)).mean() for axis in range(first.ndim)])
    return [
        float(first.mean()),
        float(first.std()),
        float(first.min()),
        float(first.max()),
        float(energy),
        float((labels > 0).mean()),
        float((labels == foreground).mean()),
    ]
