"""What the section about prediction counts, on cases that can be counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoseg.data.dataset import Case
from autoseg.data.files import write_labels
from autoseg.data.image import Geometry
from benchmarks.peer.sections.prediction import _equal


def test_equal_voxels_are_counted_over_all_cases(tmp_path: Path) -> None:
    cases = [Case(id=name, images=(Path(f"{name}.nii.gz"),)) for name in "ab"]
    for case, size in zip(cases, (2, 4), strict=True):
        labels = np.zeros((size, 2, 2), np.uint8)
        write_labels(tmp_path / "one" / f"{case.id}.nii.gz", labels, Geometry(spacing=(1.0, 1.0, 1.0)))
        labels[0, 0] = 1  # two voxels a case
        write_labels(tmp_path / "other" / f"{case.id}.nii.gz", labels, Geometry(spacing=(1.0, 1.0, 1.0)))
    share, voxels = _equal(cases, tmp_path / "one", tmp_path / "other", ".nii.gz")
    assert voxels == 8 + 16
    assert share == pytest.approx(20 / 24)
    assert _equal(cases, tmp_path / "one", tmp_path / "one", ".nii.gz") == (1.0, 24)
