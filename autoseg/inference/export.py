"""From logits in plan space to labels and probabilities on the voxels of the original image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from autoseg.data.labels import LabelScheme
from autoseg.preprocessing.record import CaseProperties
from autoseg.preprocessing.resample import axis_matrix, out_of_plane_axis
from autoseg.preprocessing.undo import restore_labels, restore_probabilities

_SLAB_BYTES = 256 * 2**20
"""Memory of one slab of resampled logits; the whole volume never exists at once."""


def export_labels(logits: Tensor, properties: CaseProperties, scheme: LabelScheme) -> np.ndarray:
    """Labels in file values on the original image.

    Logits are interpolated linearly onto the original voxels (by nearest slice across the plane of anisotropic
    images, as in nnU-Net) and reduced to labels slab by slab, so that memory does not grow with the classes.

    Args:
        logits: (K, Z, Y, X) float32 in plan space, K as `scheme.outputs`.
        properties: of the preprocessed case.
        scheme: meaning of the K outputs.

    Returns:
        (Z, Y, X) of the original image, in the file's axis order; background outside the crop.
    """
    labels: np.ndarray | None = None
    for rows, slab in _slabs(logits, properties):
        part = scheme.decode(_winners(slab).numpy()) if not scheme.regions else _painted(slab, scheme)
        if labels is None:
            labels = np.zeros(properties.shape_before_resampling, dtype=part.dtype)
        labels[rows] = part
    assert labels is not None
    return restore_labels(labels, properties)


def export_probabilities(logits: Tensor, properties: CaseProperties, scheme: LabelScheme) -> np.ndarray:
    """Probabilities (K, Z, Y, X) float16 on the original image: softmax over labels, or a sigmoid a region."""
    result = np.zeros((logits.shape[0], *properties.shape_before_resampling), dtype=np.float16)
    for rows, slab in _slabs(logits, properties):
        result[:, rows] = (slab.sigmoid() if scheme.regions else slab.softmax(0)).numpy()
    return restore_probabilities(result, properties, regions=bool(scheme.regions))


def _winners(slab: Tensor) -> Tensor:
    return slab.argmax(0)


def _painted(slab: Tensor, scheme: LabelScheme) -> np.ndarray:
    """Each region's value over the ones before it (nnU-Net's `regions_class_order`)."""
    values = scheme.region_order or tuple(range(1, len(scheme.regions) + 1))
    painted = np.zeros(slab.shape[1:], dtype=np.uint8 if max(values) < 256 else np.int16)
    for region, value in enumerate(values):
        painted[(slab[region] > 0).numpy()] = value
    return painted


def _slabs(logits: Tensor, properties: CaseProperties) -> Iterator[tuple[slice, Tensor]]:
    """Slabs of the logits on the original voxels of the crop, along the first axis: (rows, (K, rows, Y, X))."""
    shape_in, shape_out = tuple(logits.shape[1:]), properties.shape_before_resampling
    row_bytes = logits.shape[0] * shape_out[1] * shape_out[2] * 4
    height = max(1, min(shape_out[0], _SLAB_BYTES // max(1, row_bytes)))
    if shape_in == shape_out:
        for start in range(0, shape_out[0], height):
            rows = slice(start, min(start + height, shape_out[0]))
            yield rows, logits[:, rows]
        return
    apart = out_of_plane_axis(properties.spacing, properties.spacing_before_resampling)
    first, second, third = (
        torch.from_numpy(axis_matrix(shape_in[axis], shape_out[axis], 0 if axis == apart else 1).astype(np.float32))
        for axis in range(3)
    )
    for start in range(0, shape_out[0], height):
        rows = slice(start, min(start + height, shape_out[0]))
        used = first[rows].abs().amax(0).nonzero().flatten()
        low, high = int(used[0]), int(used[-1]) + 1
        slab = torch.einsum("zi,kiyx->kzyx", first[rows, low:high], logits[:, low:high])
        if shape_in[1] != shape_out[1]:
            slab = torch.matmul(second, slab)
        if shape_in[2] != shape_out[2]:
            slab = torch.matmul(slab, third.T)
        yield rows, slab
