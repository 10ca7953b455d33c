"""Voxels to labels and sums in chunks, against NumPy on the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autoseg.data.labels import LabelScheme
from autoseg.inference import reduction
from autoseg.inference.readout import Readout
from autoseg.inference.reduction import paint, reduce_voxels
from autoseg.inference.uncertainty import ExpectedDice

MANY = LabelScheme(names={"background": 0, **{f"organ{i}": i for i in range(1, 7)}})
REGIONS = LabelScheme(
    names={"background": 0, "rim": 1, "core": 2}, regions={"whole": (1, 2), "inner": (2,)}, region_order=(1, 2)
)


def _logits(outputs: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn((outputs, 5, 6, 7), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("chunk", [1, 2**20])
def test_labels_are_the_first_of_the_largest(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "_CHUNK_BYTES", chunk)
    for logits in (_logits(7), _logits(7).round()):  # whole numbers have many ties
        labels = reduce_voxels((logits,), (None,), MANY)
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, logits.numpy().argmax(0))


def test_columns_without_a_largest_value_are_labelled_as_max_does() -> None:
    logits = _logits(7)
    logits[3, 0, 0, 0] = torch.nan
    assert np.array_equal(reduce_voxels((logits,), (None,), MANY), logits.max(0).indices.numpy())


@pytest.mark.parametrize("scheme", [MANY, REGIONS])
@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize("chunk", [100, 2**20])
def test_expected_dice_is_that_of_the_whole_probabilities(
    scheme: LabelScheme, models: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reduction, "_CHUNK_BYTES", chunk)
    logits = [_logits(scheme.outputs, seed) for seed in range(models)]
    found, whole = ExpectedDice(scheme), ExpectedDice(scheme)
    labels = reduce_voxels(logits, (None,) * models, scheme, found)
    parts = [one.sigmoid() if scheme.regions else one.softmax(0) for one in logits]
    whole.add(torch.stack(parts).mean(0), labels)
    assert found.result() == {name: pytest.approx(value, rel=1e-5) for name, value in whole.result().items()}
    assert np.array_equal(labels, reduce_voxels(logits, (None,) * models, scheme))


def test_features_are_read_out_first() -> None:
    features = torch.randn((3, 4, 5, 6), generator=torch.Generator().manual_seed(1))
    readout = Readout(torch.randn((7, 3), generator=torch.Generator().manual_seed(2)), torch.zeros(7))
    expected = np.einsum("kc,czyx->kzyx", readout.weight.numpy(), features.numpy()).argmax(0)
    assert np.array_equal(reduce_voxels((features,), (readout,), MANY), expected)


def test_regions_that_overlap_without_one_lying_in_the_other_keep_their_voxels() -> None:
    """Two structures and the value of both: whatever labels the targets came from is painted again."""
    scheme = LabelScheme(
        names={"background": 0}, regions={"liver": (1, 3), "vessel": (2, 3, 4), "lesion": (4,)}, region_order=(1, 2, 4)
    )
    labels = np.random.default_rng(0).integers(0, 5, (6, 7, 8))
    inside = np.stack([np.isin(labels, values) for values in scheme.regions.values()])
    assert np.array_equal(scheme.decode(paint(inside.astype(np.float32), scheme, 0.5)), labels)
    # What no value stands for is painted in the order, as before.
    unknown = np.array([1.0, 0.0, 1.0])[:, None, None, None]
    assert scheme.decode(paint(unknown, scheme, 0.5)).ravel().tolist() == [4]
