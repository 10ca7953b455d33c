"""From logits in plan space to labels and probabilities on other voxels: the original ones, or a next stage's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError
from autoseg.inference.rows import LogitRows, WholeLogits
from autoseg.preprocessing.record import CaseProperties
from autoseg.preprocessing.resample import axis_matrix, out_of_plane_axis
from autoseg.preprocessing.undo import restore_probabilities

_SLAB_BYTES = 256 * 2**20
"""Memory of one slab of resampled logits; the whole volume never exists at once."""

Prediction = tuple[LogitRows, CaseProperties]
"""A model's logits in its plan space, and the properties of the case it preprocessed."""


@dataclass(frozen=True)
class Slab:
    """Some rows (first axis) of a case, as one or several models see them.

    Attributes:
        rows: which of the case's rows.
        logits: (K, rows, Y, X) float32 on these voxels, one of each model.
        scheme: meaning of the K outputs.
    """

    rows: slice
    logits: tuple[Tensor, ...]
    scheme: LabelScheme

    @cached_property
    def probabilities(self) -> Tensor:
        """(K, rows, Y, X) float32: softmax over labels or a sigmoid a region, averaged over the models (nnU-Net)."""
        parts = (part.sigmoid() if self.scheme.regions else part.softmax(0) for part in self.logits)
        total = next(parts)
        for part in parts:
            total += part
        return total if len(self.logits) == 1 else total.div_(len(self.logits))

    @cached_property
    def labels(self) -> np.ndarray:
        """(rows, Y, X) training values. One model's come from its logits, which need no softmax to be compared."""
        alone = len(self.logits) == 1
        scores = self.logits[0] if alone else self.probabilities
        if not self.scheme.regions:
            # The indices of max are those of argmax, the first of equals, in a sixth of the time on a CPU.
            return scores.max(0).indices.numpy().astype(_label_dtype(self.scheme))
        return paint(scores.numpy(), self.scheme, threshold=0.0 if alone else 0.5)


Observer = Callable[[Slab], None]
"""Something that looks at each slab of a case while it exists."""


def slabs(predictions: Sequence[Prediction], scheme: LabelScheme) -> Iterator[Slab]:
    """The voxels of the crop of the original image, slab by slab: the one place where logits meet original voxels.

    Logits are interpolated linearly onto the original voxels (by nearest slice across the plane of anisotropic
    images, as in nnU-Net). Memory does not grow with the image.

    Args:
        predictions: of one case, one of each model; their crops are the same.
        scheme: meaning of the K outputs.
    """
    shape = predictions[0][1].shape_before_resampling
    height = _rows_at_once(predictions[0][0].shape[0], shape)
    resampled = [
        _resampled(logits, shape, out_of_plane_axis(one.spacing, one.spacing_before_resampling), height)
        for logits, one in predictions
    ]
    for parts in zip(*resampled, strict=True):
        yield Slab(parts[0][0], tuple(part for _, part in parts), scheme)


def export_labels(
    predictions: Sequence[Prediction], scheme: LabelScheme, observers: Sequence[Observer] = ()
) -> np.ndarray:
    """Labels on the voxels of the crop of the original image; `undo.restore_labels` places them in the whole one.

    Args:
        predictions: of one case, one of each model; probabilities of several are averaged.
        scheme: meaning of the K outputs.
        observers: called with each slab in order.

    Returns:
        (Z, Y, X) training values 0..K in plan order, uint8 or int16.
    """
    labels = np.empty(predictions[0][1].shape_before_resampling, dtype=_label_dtype(scheme))
    for slab in slabs(predictions, scheme):
        labels[slab.rows] = slab.labels
        for observe in observers:
            observe(slab)
    return labels


def labels_in_space(
    logits: LogitRows, shape: Sequence[int], properties: CaseProperties, scheme: LabelScheme
) -> np.ndarray:
    """Labels for the next stage of a cascade, in the voxels of its preprocessed image.

    Logits are interpolated linearly to the shape; whether slices are taken apart is decided by the spacing of the
    logits alone (as nnU-Net v2 does, which hands it over as source and target). No post-processing.

    Args:
        logits: in plan space.
        shape: (Z, Y, X) of the next stage's preprocessed image.
        properties: of the case as the logits' own configuration preprocessed it.
        scheme: meaning of the K outputs.

    Returns:
        (*shape) int16 training values.
    """
    z, y, x = shape
    labels = np.empty((z, y, x), dtype=np.int16)
    apart = out_of_plane_axis(properties.spacing, properties.spacing)
    for rows, part in _resampled(logits, (z, y, x), apart, _rows_at_once(logits.shape[0], (z, y, x))):
        labels[rows] = Slab(rows, (part,), scheme).labels
    return labels


def export_map(values: Tensor, properties: CaseProperties) -> np.ndarray:
    """A map (Z, Y, X) float32 in plan space on the original image: (Z, Y, X) float32 in its file's axis order.

    Interpolated as logits are; 0 beyond the crop.
    """
    shape = properties.shape_before_resampling
    apart = out_of_plane_axis(properties.spacing, properties.spacing_before_resampling)
    whole = np.empty((1, *shape), dtype=np.float32)
    for rows, part in _resampled(WholeLogits(values[None]), shape, apart, _rows_at_once(1, shape)):
        whole[:, rows] = part.numpy()
    return restore_probabilities(whole, properties, regions=True)[0]


def paint(scores: np.ndarray, scheme: LabelScheme, threshold: float) -> np.ndarray:
    """Labels of regions: where a region's score lies above the threshold, its value is painted over earlier ones'.

    Args:
        scores: (K, Z, Y, X), one a region, in any dtype.
        scheme: with regions; the order is its `region_order` (nnU-Net's `regions_class_order`).
        threshold: of a score.

    Returns:
        (Z, Y, X) training values.

    Raises:
        ConfigurationError: the order names a value that no label has.
    """
    order = scheme.region_order or tuple(range(1, len(scheme.regions) + 1))
    if strangers := [value for value in order if value not in scheme.values]:
        raise ConfigurationError(
            "the order of the regions names values that no region has",
            got=strangers,
            expected=f"some of {list(scheme.values)}",
            remedy='correct "regions_class_order" in dataset.json and plan again',
        )
    painted = np.zeros(scores.shape[1:], dtype=_label_dtype(scheme))
    for score, value in zip(scores, order, strict=True):
        painted[score > threshold] = scheme.values.index(value)
    return painted


def _label_dtype(scheme: LabelScheme) -> type[np.uint8] | type[np.int16]:
    return np.uint8 if len(scheme.values) <= 256 else np.int16


def _rows_at_once(channels: int, shape: tuple[int, int, int]) -> int:
    row_bytes = channels * shape[1] * shape[2] * 4
    return max(1, min(shape[0], _SLAB_BYTES // max(1, row_bytes)))


def _resampled(
    volume: LogitRows, shape: tuple[int, int, int], apart: int | None, height: int
) -> Iterator[tuple[slice, Tensor]]:
    """A volume (K, Z, Y, X) interpolated linearly to a shape, by nearest slice along axis `apart`, rows by rows."""
    shape_in = volume.shape[1:]
    if shape_in == shape:
        for start in range(0, shape[0], height):
            rows = slice(start, min(start + height, shape[0]))
            yield rows, volume.take(rows.start, rows.stop)
        return
    first, second, third = (
        torch.from_numpy(axis_matrix(shape_in[axis], shape[axis], 0 if axis == apart else 1).astype(np.float32))
        for axis in range(3)
    )
    for start in range(0, shape[0], height):
        rows = slice(start, min(start + height, shape[0]))
        used = first[rows].abs().amax(0).nonzero().flatten()
        low, high = int(used[0]), int(used[-1]) + 1
        slab = torch.einsum("zi,kiyx->kzyx", first[rows, low:high], volume.take(low, high))
        if shape_in[1] != shape[1]:
            slab = torch.matmul(second, slab)
        if shape_in[2] != shape[2]:
            slab = torch.matmul(slab, third.T)
        yield rows, slab
