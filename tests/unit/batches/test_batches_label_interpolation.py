"""Labels between voxels against shares computed in double precision, label by label."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from autoseg.batches.augment.label_interpolation import LabelMap, largest_share

RNG = np.random.default_rng(4)
VALUES = {"two": (0, 1), "outside": (-1, 0, 1, 2), "far apart": (0, 3, 200), "wide and negative": (-1, 0, 300)}


def places(source, count):
    """Flat index of the cell and position inside it for random places."""
    cell = np.stack([RNG.integers(0, n - 1, count) for n in source])
    corner = np.ravel_multi_index(tuple(cell), source).astype(np.int32)
    weights = RNG.random((len(source), count)).astype(np.float32)
    return cell, torch.from_numpy(corner), list(torch.from_numpy(weights))


def shares(labels, cell, weights, value):
    """Linear share of a label at each place, float64."""
    total = np.zeros(cell.shape[1])
    for bits in product((0, 1), repeat=len(cell)):
        part = np.prod([w if b else 1 - w for b, w in zip(bits, weights, strict=True)], axis=0)
        total += part * (labels[tuple(c + b for c, b in zip(cell, bits, strict=True))] == value)
    return total


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("source", [(7, 9), (6, 5, 7)])
@pytest.mark.parametrize("count", [500, 20000], ids=["few places", "many places"])
def test_the_label_has_the_largest_share(source, values, count):
    labels = RNG.choice(np.array(values, np.int16), (2, *source))
    cell, corner, weights = places(source, count)
    strides = [int(np.prod(source[axis + 1 :])) for axis in range(len(source))]
    corners = [int(np.dot(bits, strides)) for bits in product((0, 1), repeat=len(source))]
    label_map = LabelMap(torch.from_numpy(labels), corners, count)
    found = torch.full((2, count), -7, dtype=torch.int16)
    for first in range(0, count, 8192):
        part = slice(first, first + 8192)
        label_map.look_up(corner[part], [weight[part] for weight in weights], found, first)
    label_map.finish(found)
    exact = [weight.numpy().astype(np.float64) for weight in weights]
    for channel, result in zip(labels, found.numpy(), strict=True):
        every = np.stack([shares(channel, cell, exact, value) for value in values])
        ordered = np.sort(every, axis=0)
        clear = ordered[-1] - ordered[-2] > 1e-3
        assert clear.mean() > 0.95
        assert np.array_equal(result[clear], np.array(values)[every.argmax(0)][clear])


def test_equal_shares_go_to_the_nearest_voxel():
    found = torch.tensor([[1, 2], [2, 1], [2, 1], [1, 2]], dtype=torch.int16)  # a chessboard: shares are one half
    weights = [torch.tensor([0.5, 0.5]), torch.tensor([0.2, 0.8])]
    assert largest_share(found, weights).tolist() == [2, 2]


def test_a_single_label_is_that_label_everywhere():
    label_map = LabelMap(torch.full((1, 4, 4), 3, dtype=torch.int16), [0, 1, 4, 5], 2)
    found = torch.zeros(1, 2, dtype=torch.int16)
    label_map.look_up(torch.tensor([0, 5], dtype=torch.int32), [torch.zeros(2), torch.ones(2)], found, 0)
    label_map.finish(found)
    assert found.tolist() == [[3, 3]]
