"""Logits back to the original image, against skimage's resize."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.transform import resize

from autoseg.data.image import Geometry
from autoseg.data.labels import LabelScheme
from autoseg.inference import export
from autoseg.inference.export import export_labels, export_probabilities
from autoseg.preprocessing.record import CaseProperties

PLAIN = LabelScheme(names={"background": 0, "organ": 5, "lesion": 9})


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


def _logits(channels: int, shape: tuple[int, ...] = (10, 20, 13)) -> torch.Tensor:
    return torch.randn((channels, *shape), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("slab", [2**28, 1])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_labels_equal_the_argmax_of_resized_logits(
    slab: int, transpose: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_SLAB_BYTES", slab)
    logits, properties = _logits(3), _properties(transpose)
    labels = export_labels(logits, properties, PLAIN)
    large = np.stack([resize(c, (15, 24, 11), 1, mode="edge", anti_aliasing=False) for c in logits.double().numpy()])
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
    labels = export_labels(logits, properties, PLAIN)
    organ = np.flatnonzero((labels == 5).any((1, 2))) - 2
    centres = (np.arange(15) + 0.5) * 10 / 15 - 0.5
    assert organ.tolist() == np.flatnonzero(np.floor(centres + 0.5) == 4).tolist()


def test_regions_are_painted_in_their_order() -> None:
    scheme = LabelScheme(
        names={"background": 0, "edema": 1, "core": 2},
        regions={"whole": (1, 2), "core": (2,)},
        region_order=(1, 2),
    )
    properties = _properties().with_(shape=(15, 24, 11))
    logits = torch.full((2, 15, 24, 11), -1.0)
    logits[0, 3:9] = 1
    logits[1, 5:7] = 1
    logits[1, 12] = 1  # core without whole: still painted, as nnU-Net does
    labels = export_labels(logits, properties, scheme)[2:17, :, 3:14]
    assert np.unique(labels[3:5]).tolist() == [1]
    assert np.unique(labels[5:7]).tolist() == [2]
    assert np.unique(labels[12]).tolist() == [2]
    assert not labels[9:12].any()


def test_probabilities_sum_to_one_and_are_background_outside() -> None:
    probabilities = export_probabilities(_logits(3), _properties(), PLAIN)
    assert probabilities.shape == (3, 20, 24, 18)
    np.testing.assert_allclose(probabilities.astype(np.float32).sum(0), 1, atol=2e-3)
    assert (probabilities[0, :2] == 1).all()
    assert (probabilities.argmax(0) == PLAIN.encode(export_labels(_logits(3), _properties(), PLAIN))).mean() > 0.999
