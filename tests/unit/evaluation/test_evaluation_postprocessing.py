"""The choice of post-processing from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoseg.data.files import write_labels
from autoseg.data.image import Geometry
from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError, ImageError
from autoseg.evaluation.postprocessing import decide_postprocessing
from autoseg.postprocessing.choose import choose

SCHEME = LabelScheme(names={"background": 0, "a": 10, "b": 20}, ignore=30)


def _case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training values; an ignored corner with an island that only counts if it were not ignored."""
    reference = np.zeros((4, 12, 12), np.int16)
    reference[:, 2:6, 2 + seed : 6 + seed], reference[:, 6:9, 2:6] = 1, 2
    prediction = reference.copy()
    prediction[0, 11, 8:10] = 1
    reference[:, :, 11] = prediction[1, 0, 11] = 2
    reference[:, 0:2, 11] = 3
    return prediction, reference


@pytest.fixture
def files(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    values = np.array([0, 10, 20, 30], np.int16)
    pairs = {}
    for number in range(3):
        paths = tmp_path / "predictions" / f"{number}.nii.gz", tmp_path / "references" / f"{number}.nii.gz"
        for path, labels in zip(paths, _case(number), strict=True):
            write_labels(path, values[labels], Geometry())
        pairs[str(number)] = paths
    return pairs


@pytest.mark.parametrize("workers", [1, 2])
def test_files_give_the_decision_of_their_arrays(files: dict[str, tuple[Path, Path]], workers: int) -> None:
    expected = choose([_case(number) for number in range(3)], {"a": (1,), "b": (2,)}, ignore=3)
    assert decide_postprocessing(files, SCHEME, workers=workers) == expected
    assert expected.steps


def test_no_files_no_steps() -> None:
    decision = decide_postprocessing({}, SCHEME)
    assert (decision.steps, decision.cases) == ((), 0)


def test_wrong_files_are_refused(files: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="missing"):
        decide_postprocessing({"0": (tmp_path / "none.nii.gz", files["0"][1])}, SCHEME)
    with pytest.raises(ConfigurationError, match="not in the data set's labels"):
        decide_postprocessing(files, LabelScheme(names={"background": 0, "a": 10}))
