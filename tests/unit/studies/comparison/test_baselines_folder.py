"""Predictions of another tool: found by name, read as training values, refused where they do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_cases import draw_case, draw_dataset

from autoseg.data.dataset import Case
from autoseg.data.files import write_labels
from autoseg.data.image import Geometry
from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError, ImageError
from autoseg.studies.comparison.baselines.folder import folder
from autoseg.studies.comparison.baselines.protocol import BaselineContext

SHAPE = (4, 5, 6)


@pytest.fixture
def context(tmp_path: Path) -> BaselineContext:
    """Labels 0, 2 and 7 in the files, 9 ignored."""
    made = draw_dataset(tmp_path, [(np.zeros((1, *SHAPE)), np.zeros(SHAPE))])
    labels = LabelScheme(names={"background": 0, "a": 2, "b": 7}, ignore=9)
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    dataset = made.dataset.with_(labels=labels)
    return replace(made, dataset=dataset, labels=labels, options={"predictions": predictions})


def write(context: BaselineContext, labels: np.ndarray, name: str = "case_00.nii.gz", **geometry: object) -> Case:
    write_labels(Path(context.options["predictions"]) / name, labels, Geometry(**geometry))  # type: ignore[arg-type]
    return context.training[0]


@pytest.mark.parametrize("name", ["case_00.nii.gz", "case_00.mha"])
def test_values_become_training_values(context: BaselineContext, name: str) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[0], labels[1] = 2, 7
    case = write(context, labels, name)
    found = folder(context).predict(case).labels
    np.testing.assert_array_equal(found, np.select([labels == 2, labels == 7], [1, 2]))


def test_a_case_without_prediction_is_named(context: BaselineContext, tmp_path: Path) -> None:
    case = draw_case(tmp_path, "other", (np.zeros((1, *SHAPE)), np.zeros(SHAPE)))
    with pytest.raises(ImageError, match=r"other\.nii\.gz"):
        folder(context).predict(case)


@pytest.mark.parametrize(
    ("labels", "geometry", "message"),
    [
        (np.zeros((4, 5, 7), np.uint8), {}, "different shapes"),
        (np.zeros(SHAPE, np.uint8), {"spacing": (2.0, 1.0, 1.0)}, "different spacings"),
        (np.full(SHAPE, 1, np.uint8), {}, "no labels"),
        (np.full(SHAPE, 9, np.uint8), {}, "without annotation"),
    ],
)
def test_what_does_not_fit_is_refused(
    context: BaselineContext, labels: np.ndarray, geometry: dict[str, object], message: str
) -> None:
    case = write(context, labels, **geometry)
    with pytest.raises(ImageError, match=message) as caught:
        folder(context).predict(case)
    assert "case_00.nii.gz" in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"predictions": "nowhere"}])
def test_a_folder_is_needed(context: BaselineContext, options: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="--predictions"):
        folder(replace(context, options=options))
