"""Saved probabilities: rounding, slabs, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.data.image import Geometry
from autoseg.data.labels import LabelScheme
from autoseg.errors import WorkspaceError
from autoseg.inference import export, probabilities
from autoseg.inference.export import slabs
from autoseg.inference.probabilities import ProbabilityWriter, SavedProbabilities
from autoseg.inference.rows import WholeLogits
from autoseg.preprocessing.record import CaseProperties

SCHEME = LabelScheme(names={"background": 0, "organ": 1, "lesion": 2})
PROPERTIES = CaseProperties(
    channels=1,
    geometry=Geometry(spacing=(3.0, 1.0, 0.5), origin=(1.0, -2.0, 3.0)),
    transpose=(1, 0, 2),
    shape_before_crop=(20, 24, 18),
    crop_box=((2, 17), (0, 24), (3, 14)),
    shape=(10, 20, 13),
    spacing=(1.5, 1.0, 1.0),
)


def _save(path: Path) -> np.ndarray:
    """Writes a case's file; gives its exact probabilities."""
    logits = torch.randn((3, 10, 20, 13), generator=torch.Generator().manual_seed(0))
    writer, parts = ProbabilityWriter(3, PROPERTIES), []
    for slab in slabs([(WholeLogits(logits), PROPERTIES)], SCHEME):
        writer.add(slab)
        parts.append(slab.probabilities.numpy())
    writer.save(path)
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("slab_bytes", [2**28, 7 * 3 * 24 * 11 * 4, 1])
@pytest.mark.parametrize("chunk_bytes", [2**20, 4 * 24 * 11])
def test_bytes_are_the_rounded_probabilities_whatever_the_slabs(
    slab_bytes: int, chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_SLAB_BYTES", slab_bytes)
    monkeypatch.setattr(probabilities, "_CHUNK_BYTES", chunk_bytes)
    exact = _save(tmp_path / "case.b2nd")
    saved = SavedProbabilities.open(tmp_path / "case.b2nd")
    assert (saved.outputs, saved.shape) == (3, (15, 24, 11))
    assert saved.properties == PROPERTIES
    found = np.concatenate([saved.rows(slice(start, start + 4)) for start in range(0, 15, 4)], axis=1)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found / 255, exact, atol=0.5 / 255 + 1e-6)


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "case.b2nd"
    _save(path)
    path.write_bytes(path.read_bytes()[:200])
    for wrong in (path, tmp_path / "missing.b2nd"):
        with pytest.raises(WorkspaceError, match="cannot be read") as error:
            SavedProbabilities.open(wrong)
        assert error.value.where == str(wrong)
