"""The way back from plan space: predictions onto the voxels of the original image."""

from __future__ import annotations

import numpy as np

from autoseg.preprocessing.record import CaseProperties


def restore_labels(labels: np.ndarray, properties: CaseProperties) -> np.ndarray:
    """Labels on the cropped voxels -> the whole image in its file's axis order, 0 beyond the crop.

    Args:
        labels: properties.shape_before_resampling, any integer dtype.

    Returns:
        (Z, Y, X) of the original image, C-contiguous, in the dtype of `labels`.
    """
    whole = np.zeros(properties.shape_before_crop, dtype=labels.dtype)
    whole[properties.crop] = labels
    whole = np.flip(whole, _reversed(properties))
    return np.ascontiguousarray(whole.transpose(np.argsort(properties.transpose)))


def restore_probabilities(probabilities: np.ndarray, properties: CaseProperties, *, regions: bool) -> np.ndarray:
    """Probabilities on the cropped voxels -> the whole image; beyond the crop all is background.

    Args:
        probabilities: (K, *properties.shape_before_resampling).
        regions: the outputs are independent regions (0 beyond the crop); else labels, of which the first is
            background (1 beyond the crop).

    Returns:
        (K, Z, Y, X) of the original image, C-contiguous, in the dtype of `probabilities`.
    """
    whole = np.zeros((len(probabilities), *properties.shape_before_crop), dtype=probabilities.dtype)
    if not regions:
        whole[0] = 1
    whole[(slice(None), *properties.crop)] = probabilities
    whole = np.flip(whole, tuple(axis + 1 for axis in _reversed(properties)))
    back = np.argsort(properties.transpose) + 1
    return np.ascontiguousarray(whole.transpose(0, *back))


def _reversed(properties: CaseProperties) -> tuple[int, ...]:
    return tuple(axis for axis, back in enumerate(properties.reversed) if back)
