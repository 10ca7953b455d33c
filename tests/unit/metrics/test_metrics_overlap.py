"""Overlap metrics against scikit-learn and SimpleITK, and where they do not exist."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from sklearn import metrics as sklearn

from autoseg.metrics import overlap
from autoseg.metrics.confusion import Counts, confusion, count

ALL = (
    overlap.dice,
    overlap.iou,
    overlap.precision,
    overlap.sensitivity,
    overlap.specificity,
    overlap.f_beta,
    overlap.volume_similarity,
)


@pytest.fixture(params=range(3))
def masks(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(request.param)
    return rng.random((6, 11, 9)) < 0.3, rng.random((6, 11, 9)) < 0.45


def _counts(masks: tuple[np.ndarray, np.ndarray]) -> Counts:
    return count(confusion(*masks), (1,))


def test_equal_scikit_learn(masks: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, reference = (mask.ravel() for mask in masks)
    counts = _counts(masks)
    assert overlap.dice(counts) == pytest.approx(sklearn.f1_score(reference, prediction))
    assert overlap.iou(counts) == pytest.approx(sklearn.jaccard_score(reference, prediction))
    assert overlap.precision(counts) == pytest.approx(sklearn.precision_score(reference, prediction))
    assert overlap.sensitivity(counts) == pytest.approx(sklearn.recall_score(reference, prediction))
    assert overlap.specificity(counts) == pytest.approx(sklearn.recall_score(~reference, ~prediction))
    assert overlap.f_beta(counts) == pytest.approx(sklearn.fbeta_score(reference, prediction, beta=2))
    assert overlap.f_beta(counts, 0.5) == pytest.approx(sklearn.fbeta_score(reference, prediction, beta=0.5))


def test_equal_simpleitk(masks: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, reference = (sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks)
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(prediction, reference)
    counts = _counts(masks)
    assert overlap.dice(counts) == pytest.approx(measures.GetDiceCoefficient(1))
    assert overlap.iou(counts) == pytest.approx(measures.GetJaccardCoefficient(1))
    assert overlap.volume_similarity(counts) == pytest.approx(1 - abs(measures.GetVolumeSimilarity(1)) / 2)


def test_f_one_is_dice(masks: tuple[np.ndarray, np.ndarray]) -> None:
    counts = _counts(masks)
    assert overlap.f_beta(counts, 1) == pytest.approx(overlap.dice(counts))


def test_symmetry(masks: tuple[np.ndarray, np.ndarray]) -> None:
    there, back = _counts(masks), _counts(masks[::-1])
    for metric in (overlap.dice, overlap.iou, overlap.volume_similarity):
        assert metric(there) == metric(back)
    assert overlap.precision(there) == overlap.sensitivity(back)


@pytest.mark.parametrize("metric", ALL)
def test_nothing_to_measure_is_none(metric: Callable[[Counts], float | None]) -> None:
    assert metric(Counts(tp=0, fp=0, fn=0, tn=100)) is None


@pytest.mark.parametrize(
    ("counts", "missing"),
    [(Counts(tp=0, fp=0, fn=7, tn=93), overlap.precision), (Counts(tp=0, fp=7, fn=0, tn=93), overlap.sensitivity)],
)
def test_one_side_empty_is_zero_or_does_not_exist(counts: Counts, missing: Callable[[Counts], float | None]) -> None:
    assert missing(counts) is None
    for metric in (overlap.dice, overlap.iou, overlap.f_beta, overlap.volume_similarity):
        assert metric(counts) == 0


def test_specificity_needs_background() -> None:
    assert overlap.specificity(Counts(tp=60, fp=0, fn=40, tn=0)) is None
    assert overlap.specificity(Counts(tp=0, fp=0, fn=40, tn=60)) == 1


def test_equal_volumes_elsewhere_are_similar_and_do_not_overlap() -> None:
    counts = Counts(tp=0, fp=5, fn=5, tn=90)
    assert overlap.volume_similarity(counts) == 1
    assert overlap.dice(counts) == 0
