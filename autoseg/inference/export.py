"""From logits in plan space to labels and probabilities on other voxels: the original ones, or a next stage's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from autoseg.data.labels import LabelScheme
from autoseg.inference.interpolation import interpolated
from autoseg.inference.readout import Readout
from autoseg.inference.reduction import label_dtype, probabilities_of, reduce_voxels
from autoseg.inference.rows import LogitRows, WholeLogits
from autoseg.inference.uncertainty import ExpectedDice
from autoseg.preprocessing.record import CaseProperties
from autoseg.preprocessing.resample import out_of_plane_axis
from autoseg.preprocessing.undo import restore_probabilities

if TYPE_CHECKING:
    from jaxtyping import Float32, Int16, Integer

_SLAB_BYTES = 64 * 2**20
"""Memory of one slab of resampled logits; the whole volume never exists at once."""

Prediction = tuple[LogitRows, CaseProperties]
"""A model's logits in its plan space, and the properties of the case it preprocessed."""


@dataclass(frozen=True)
class Slab:
    """Some rows (first axis) of a case, as one or several models see them.

    Attributes:
        rows: which of the case's rows.
        held: (C, rows, Y, X) float32 on these voxels, one of each model: logits, or features where it has a readout.
        readouts: what makes logits of them, one of each model.
        scheme: meaning of the K outputs.
    """

    rows: slice
    held: tuple[Float32[Tensor, "_ rows y x"], ...]
    readouts: tuple[Readout | None, ...]
    scheme: LabelScheme

    @cached_property
    def probabilities(self) -> Float32[Tensor, "output rows y x"]:
        """(K, rows, Y, X) float32: softmax over labels or a sigmoid per region, averaged over the models (nnU-Net)."""
        pairs = zip(self.held, self.readouts, strict=True)
        return probabilities_of([held if readout is None else readout(held) for held, readout in pairs], self.scheme)

    def reduce(self, expected: ExpectedDice | None = None) -> Integer[np.ndarray, "rows y x"]:
        """(rows, Y, X) training values; `expected` gets the voxels' probabilities (see `reduce_voxels`)."""
        return reduce_voxels(self.held, self.readouts, self.scheme, expected)


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
    readouts = tuple(logits.readout for logits, _ in predictions)
    resampled = [
        interpolated(logits, shape, out_of_plane_axis(properties.spacing, properties.spacing_before_resampling), height)
        for logits, properties in predictions
    ]
    for parts in zip(*resampled, strict=True):
        yield Slab(parts[0][0], tuple(part for _, part in parts), readouts, scheme)


def export_labels(
    predictions: Sequence[Prediction],
    scheme: LabelScheme,
    observers: Sequence[Observer] = (),
    expected: ExpectedDice | None = None,
) -> Integer[np.ndarray, "z y x"]:
    """Labels on the voxels of the crop of the original image; `undo.restore_labels` places them in the whole one.

    Args:
        predictions: of one case, one of each model; probabilities of several are averaged.
        scheme: meaning of the K outputs.
        observers: called with each slab in order.
        expected: gets the probabilities of all voxels with their labels.

    Returns:
        (Z, Y, X) training values 0..K in plan order, uint8 or int16.
    """
    labels = np.empty(predictions[0][1].shape_before_resampling, dtype=label_dtype(scheme))
    for slab in slabs(predictions, scheme):
        labels[slab.rows] = slab.reduce(expected)
        for observe in observers:
            observe(slab)
    return labels


def labels_in_space(
    logits: LogitRows, shape: Sequence[int], properties: CaseProperties, scheme: LabelScheme
) -> Int16[np.ndarray, "z y x"]:
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
    for rows, part in interpolated(logits, (z, y, x), apart, _rows_at_once(logits.shape[0], (z, y, x))):
        labels[rows] = reduce_voxels((part,), (logits.readout,), scheme)
    return labels


def export_map(values: Float32[Tensor, "z y x"], properties: CaseProperties) -> Float32[np.ndarray, "_ _ _"]:
    """A map (Z, Y, X) float32 in plan space on the original image: (Z, Y, X) float32 in its file's axis order.

    Interpolated as logits are; 0 beyond the crop.
    """
    shape = properties.shape_before_resampling
    apart = out_of_plane_axis(properties.spacing, properties.spacing_before_resampling)
    whole = np.empty((1, *shape), dtype=np.float32)
    for rows, part in interpolated(WholeLogits(values[None]), shape, apart, _rows_at_once(1, shape)):
        whole[:, rows] = part.numpy()
    return restore_probabilities(whole, properties, regions=True)[0]


def _rows_at_once(channels: int, shape: tuple[int, int, int]) -> int:
    row_bytes = channels * shape[1] * shape[2] * 4
    return max(1, min(shape[0], _SLAB_BYTES // max(1, row_bytes)))
