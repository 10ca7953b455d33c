"""Logits on the voxels of the original image and of a cascade's next stage, against skimage's resize."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.transform import resize

from autoseg.data.image import Geometry
from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError
from autoseg.inference import export
from autoseg.inference.export import Prediction, export_labels, export_map, labels_in_space, slabs
from autoseg.inference.rows import WholeLogits
from autoseg.preprocessing.record import CaseProperties
from autoseg.preprocessing.undo import restore_labels

PLAIN = LabelScheme(names={"background": 0, "organ": 5, "lesion": 9})
REGIONS = LabelScheme(
    names={"background": 0, "edema": 1, "core": 2},
    regions={"whole": (1, 2), "core": (2,)},
    region_order=(1, 2),
)


def _properties(
    transpose: tuple[int, int, int] = (0, 1, 2), spacing: tuple[float, ...] = (1.5, 1, 1)
) -> CaseProperties:
    return CaseProperties(
        channels=1,
        geometry=Geometry(spacing=(1.0, 1.0, 1.0)),
        transpose=transpose,
        shape_before_crop=(20, 24, 18),
        crop_box=((2, 17), (0, 24), (3, 14)),
        shape=(10, 20, 13),
        spacing=spacing,  # type: ignore[arg-type]
    )


def _logits(channels: int, shape: tuple[int, ...] = (10, 20, 13), seed: int = 0) -> torch.Tensor:
    return torch.randn((channels, *shape), generator=torch.Generator().manual_seed(seed))


def _on_the_image(logits: torch.Tensor, properties: CaseProperties, scheme: LabelScheme) -> np.ndarray:
    """File values on the whole original image."""
    return restore_labels(scheme.decode(export_labels([(WholeLogits(logits), properties)], scheme)), properties)


def _resized(logits: torch.Tensor, shape: tuple[int, ...]) -> np.ndarray:
    return np.stack([resize(c, shape, 1, mode="edge", anti_aliasing=False) for c in logits.double().numpy()])


def _probabilities(predictions: list[Prediction], scheme: LabelScheme) -> np.ndarray:
    return np.concatenate([slab.probabilities.numpy() for slab in slabs(predictions, scheme)], axis=1)


@pytest.mark.parametrize("slab", [2**28, 1])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_labels_equal_the_argmax_of_resized_logits(
    slab: int, transpose: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_SLAB_BYTES", slab)
    logits, properties = _logits(3), _properties(transpose)
    labels = _on_the_image(logits, properties, PLAIN)
    large = _resized(logits, (15, 24, 11))
    inside = labels.transpose(transpose)[2:17, 0:24, 3:14]
    expected = np.array([0, 5, 9])[large.argmax(0)]
    assert (inside == expected).mean() > 0.9999
    assert set(np.unique(labels)) == {0, 5, 9}
    outside = labels.transpose(transpose).copy()
    outside[2:17, 0:24, 3:14] = 0
    assert not outside.any()


def test_anisotropic_logits_take_the_nearest_slice_across_the_plane() -> None:
    properties = _properties(spacing=(8.0, 1.0, 1.0))
    logits = torch.zeros(3, 10, 20, 13)
    logits[1, 4] = 1.0  # one slice of organ
    labels = _on_the_image(logits, properties, PLAIN)
    organ = np.flatnonzero((labels == 5).any((1, 2))) - 2
    centres = (np.arange(15) + 0.5) * 10 / 15 - 0.5
    assert organ.tolist() == np.flatnonzero(np.floor(centres + 0.5) == 4).tolist()


def test_regions_are_painted_in_their_order() -> None:
    properties = _properties().with_(shape=(15, 24, 11))
    logits = torch.full((2, 15, 24, 11), -1.0)
    logits[0, 3:9] = 1
    logits[1, 5:7] = 1
    logits[1, 12] = 1  # core without whole: still painted, as nnU-Net does
    labels = _on_the_image(logits, properties, REGIONS)[2:17, :, 3:14]
    assert np.unique(labels[3:5]).tolist() == [1]
    assert np.unique(labels[5:7]).tolist() == [2]
    assert np.unique(labels[12]).tolist() == [2]
    assert not labels[9:12].any()


def test_an_order_of_regions_with_an_unknown_value_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="regions_class_order"):
        export_labels([(WholeLogits(_logits(2)), _properties())], REGIONS.with_(region_order=(1, 7)))


@pytest.mark.parametrize("slab", [2**28, 1])
@pytest.mark.parametrize("scheme", [PLAIN, REGIONS])
def test_several_models_average_their_probabilities_on_the_original_voxels(
    scheme: LabelScheme, slab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_SLAB_BYTES", slab)
    fine = _properties().with_(shape=(15, 24, 11), spacing=(1.0, 1.0, 1.0))
    predictions = [
        (WholeLogits(3 * _logits(scheme.outputs)), _properties()),
        (WholeLogits(_logits(scheme.outputs, (15, 24, 11), 1)), fine),
    ]
    one, other = (_resized(whole.logits, (15, 24, 11)) for whole, _ in predictions)
    if scheme.regions:
        mean = (1 / (1 + np.exp(-one)) + 1 / (1 + np.exp(-other))) / 2
        expected = np.where(mean[1] > 0.5, 2, np.where(mean[0] > 0.5, 1, 0))
    else:
        softmax = [np.exp(part) / np.exp(part).sum(0) for part in (one, other)]
        mean = (softmax[0] + softmax[1]) / 2
        expected = mean.argmax(0)
    np.testing.assert_allclose(_probabilities(predictions, scheme), mean, atol=1e-5)
    assert (export_labels(predictions, scheme) == expected).mean() > 0.9995


def test_probabilities_of_labels_sum_to_one_and_their_largest_is_the_label() -> None:
    predictions = [(WholeLogits(_logits(3)), _properties())]
    probabilities = _probabilities(predictions, PLAIN)
    assert probabilities.shape == (3, 15, 24, 11)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    assert np.array_equal(probabilities.argmax(0), export_labels(predictions, PLAIN))


def test_observers_see_every_row_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_SLAB_BYTES", 4 * 3 * 24 * 11 * 4)
    rows: list[int] = []
    export_labels(
        [(WholeLogits(_logits(3)), _properties())],
        PLAIN,
        [lambda slab: rows.extend(range(slab.rows.start, slab.rows.stop))],
    )
    assert rows == list(range(15))


@pytest.mark.parametrize(
    ("spacing", "shape", "counts"),
    [((2.0, 1.9, 1.8), (22, 31, 26), (6127, 5862, 5743)), ((8.0, 1.5, 1.5), (9, 31, 26), (2399, 2379, 2476))],
)
def test_the_next_stage_gets_the_labels_that_nnunet_would_give_it(
    spacing: tuple[float, ...], shape: tuple[int, int, int], counts: tuple[int, ...]
) -> None:
    # Counts of the arg max of resample_data_or_seg_to_shape(data, shape, spacing, spacing, order=1, order_z=0) of
    # nnU-Net v2.8.1, as its validation makes them for a next stage.
    data = np.random.default_rng(3).standard_normal((3, 13, 17, 15)).astype(np.float32)
    labels = labels_in_space(WholeLogits(torch.from_numpy(data)), shape, _properties(spacing=spacing), PLAIN)
    assert labels.shape == shape
    assert labels.dtype == np.int16
    assert np.abs(np.bincount(labels.ravel()) - counts).max() <= 2
    if max(spacing) < 3 * min(spacing):
        assert (labels == _resized(torch.from_numpy(data), shape).argmax(0)).mean() > 0.9995


def test_a_map_is_interpolated_and_zero_beyond_the_crop() -> None:
    values = _logits(1)[0]
    whole = export_map(values, _properties((2, 0, 1)))
    assert whole.dtype == np.float32
    inside = whole.transpose(2, 0, 1)
    np.testing.assert_allclose(inside[2:17, :, 3:14], _resized(values[None], (15, 24, 11))[0], atol=1e-5)
    assert not inside[:2].any()
    assert not inside[..., 14:].any()
