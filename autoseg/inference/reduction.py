"""Logits to labels, and to the sums that expected Dice is made of, in chunks that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError
from autoseg.inference.readout import Readout
from autoseg.inference.uncertainty import ExpectedDice

if TYPE_CHECKING:
    from jaxtyping import Float32, Integer, Shaped

_CHUNK_BYTES = 2**20
"""Logits that one thread works on at once: about what its cache holds."""


def label_dtype(scheme: LabelScheme) -> type[np.uint8] | type[np.int16]:
    """The smallest type of training values 0..K."""
    return np.uint8 if len(scheme.values) <= 256 else np.int16


def reduce_voxels(
    held: Sequence[Float32[Tensor, " _ *space"]],
    readouts: Sequence[Readout | None],
    scheme: LabelScheme,
    expected: ExpectedDice | None = None,
) -> Integer[np.ndarray, "*space"]:
    """Labels of voxels as one or several models see them.

    One model's come from its logits, those of several from the mean of their probabilities.

    Args:
        held: (C, ...) float32 on the CPU, one of each model: logits, or features where it has a readout.
        readouts: one of each model.
        scheme: meaning of the K outputs.
        expected: gets the probabilities of these voxels with their labels.

    Returns:
        (...) training values, uint8 or int16.
    """
    shape = held[0].shape[1:]
    labels = np.empty(shape.numel(), dtype=label_dtype(scheme))
    for part, logits in _chunks(held, readouts, scheme.outputs):
        alone = len(logits) == 1
        if alone and not scheme.regions:
            labels[part] = _most_probable(logits[0], expected)
            continue
        scores = probabilities_of(logits, scheme) if expected is not None or not alone else logits[0]
        if scheme.regions:
            own = logits[0] if alone else scores
            labels[part] = paint(own.numpy(), scheme, threshold=0.0 if alone else 0.5)
        else:
            labels[part] = _first_equal(scores, scores.amax(0), torch.empty_like(scores)).numpy()
        if expected is not None:
            expected.add(scores, labels[part])
    return labels.reshape(shape)


def probabilities_of(
    logits: Sequence[Float32[Tensor, " output *space"]], scheme: LabelScheme
) -> Float32[Tensor, " output *space"]:
    """Softmax over labels or a sigmoid per region, (K, ...) float32, averaged over the models (nnU-Net)."""
    parts = (part.sigmoid() if scheme.regions else part.softmax(0) for part in logits)
    total = next(parts)
    for part in parts:
        total += part
    return total if len(logits) == 1 else total.div_(len(logits))


def paint(
    scores: Shaped[np.ndarray, " region *space"], scheme: LabelScheme, threshold: float
) -> Integer[np.ndarray, "*space"]:
    """Labels of regions: where a region's score lies above the threshold, its value is painted over earlier ones'.

    Where regions overlap and neither lies in the other, that would lose one of them; a voxel in exactly the regions
    that hold another value gets that value. Nested regions, as nnU-Net's, have no such value.

    Args:
        scores: (K, ...), one per region, in any dtype.
        scheme: with regions; the order is its `region_order` (nnU-Net's `regions_class_order`).
        threshold: of a score.

    Returns:
        (...) training values.

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
    painted = np.zeros(scores.shape[1:], dtype=label_dtype(scheme))
    for score, value in zip(scores, order, strict=True):
        painted[score > threshold] = scheme.values.index(value)
    for value, members in _values_of_overlaps(scheme, order):
        exactly = np.ones(scores.shape[1:], dtype=bool)
        for score, name in zip(scores, scheme.regions, strict=True):
            exactly &= (score > threshold) == (name in members)
        painted[exactly] = scheme.values.index(value)
    return painted


def _values_of_overlaps(scheme: LabelScheme, order: Sequence[int]) -> Iterator[tuple[int, frozenset[str]]]:
    """Values, with the regions that hold them, of voxels for which the order alone paints a value of other regions."""
    holders = {
        value: frozenset(name for name, values in scheme.regions.items() if value in values) for value in scheme.values
    }
    for value, members in holders.items():
        painted = [one for one, name in zip(order, scheme.regions, strict=True) if name in members]
        if painted and holders[painted[-1]] != members:
            yield value, members


def _chunks(
    held: Sequence[Tensor], readouts: Sequence[Readout | None], outputs: int
) -> Iterator[tuple[slice, list[Tensor]]]:
    """Which voxels, and their logits (K, n), one of each model."""
    flat = [values.reshape(values.shape[0], -1) for values in held]
    count = flat[0].shape[1]
    length = max(1, _CHUNK_BYTES * torch.get_num_threads() // (4 * outputs))
    for start in range(0, count, length):
        part = slice(start, min(start + length, count))
        yield (
            part,
            [
                values[:, part] if readout is None else readout(values[:, part])
                for values, readout in zip(flat, readouts, strict=True)
            ],
        )


def _most_probable(logits: Tensor, expected: ExpectedDice | None) -> np.ndarray:
    """Labels (n,) of the largest logits; the softmax is left unfinished, its sums being all that is asked for."""
    largest = logits.amax(0)
    work = torch.empty_like(logits)
    labels = _first_equal(logits, largest, work).numpy()
    if expected is not None:
        odds = torch.sub(logits, largest, out=work).exp_()
        winner = odds.sum(0).reciprocal_()
        expected.add_winners(labels, winner, odds @ winner)
    return labels


def _first_equal(logits: Tensor, largest: Tensor, work: Tensor) -> Tensor:
    """The first row, int64 (n,), that holds a column's largest value; `work` is overwritten.

    PyTorch looks for the largest value and its place one number after the other, ten times slower on a CPU than for
    the value alone. The place is therefore a product: of the rows' numbers with zeros and ones.
    """
    torch.eq(logits, largest, out=work)
    numbers = torch.stack([torch.arange(len(logits), dtype=work.dtype), torch.ones(len(logits))])
    index, count = numbers @ work
    labels = index.to(torch.int64)
    several = (count != 1).nonzero().flatten()  # of equal values, or none is one
    if len(several):
        labels[several] = logits[:, several].max(0).indices
    return labels
