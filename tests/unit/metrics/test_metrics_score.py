"""Scores of a case: labels, regions, planes, ignored voxels, empties."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.errors import ConfigurationError, ImageError
from autoseg.metrics.score import COUNTS, SHAPE, VOLUMES, score_labels
from autoseg.metrics.table import METRICS

SPACING = (3.0, 0.5, 0.5)
LABELS = {"organ": (1,), "tumour": (2,)}


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray]:
    prediction, reference = np.zeros((2, 8, 20, 20), np.int16)
    reference[2:6, 4:14, 4:14] = 1
    reference[3:5, 6:9, 6:9] = 2
    prediction[2:6, 5:15, 4:14] = 1
    prediction[3:5, 7:10, 6:9] = 2
    return prediction, reference


def test_known_values(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores = score_labels(*case, LABELS, SPACING, dimension=3)
    assert list(scores) == ["organ", "tumour"]
    tumour = scores["tumour"]
    assert (tumour["tp"], tumour["fp"], tumour["fn"]) == (12, 6, 6)
    assert tumour["dice"] == pytest.approx(2 / 3)
    assert tumour["hausdorff"] == pytest.approx(0.5)
    assert tumour["volume_pred"] == pytest.approx(18 * 3 * 0.5 * 0.5)
    assert tumour["n_ref"] == 18
    assert tumour["tn"] == 8 * 20 * 20 - 24


def test_all_metrics_are_there_with_counts_and_volumes(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores = score_labels(*case, LABELS, SPACING, dimension=3)
    for row in scores.values():
        assert list(row) == [*METRICS, *COUNTS, *VOLUMES, *SHAPE]
        for name, metric in METRICS.items():
            value = row[name]
            assert isinstance(value, float)
            assert metric.range[0] <= value <= metric.range[1]


def test_regions_are_unions(case: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, reference = case
    region = score_labels(prediction, reference, {"whole": (1, 2), "tumour": (2,)}, SPACING, dimension=3)
    merged = score_labels(prediction > 0, reference > 0, {"whole": (1,)}, SPACING, dimension=3)
    assert region["whole"] == merged["whole"]
    assert region["tumour"] == score_labels(prediction, reference, LABELS, SPACING, dimension=3)["tumour"]


def test_swapping_label_values_swaps_scores(case: tuple[np.ndarray, np.ndarray]) -> None:
    swap = np.array([0, 2, 1], np.int16)
    scores = score_labels(*case, LABELS, SPACING, dimension=3)
    swapped = score_labels(*(swap[labels] for labels in case), {"organ": (2,), "tumour": (1,)}, SPACING, dimension=3)
    assert swapped == scores


def test_a_perfect_prediction(case: tuple[np.ndarray, np.ndarray]) -> None:
    _, reference = case
    for row in score_labels(reference, reference, LABELS, SPACING, dimension=3).values():
        for metric in METRICS.values():
            assert row[metric.name] == (1 if metric.best == "higher" else 0)


def test_a_label_in_neither_image_has_no_value(case: tuple[np.ndarray, np.ndarray]) -> None:
    row = score_labels(*case, {"absent": (3,)}, SPACING, dimension=3)["absent"]
    assert [row[name] for name in METRICS] == [None] * len(METRICS)
    assert (row["n_pred"], row["n_ref"], row["tn"], row["volume_ref"]) == (0, 0, 8 * 20 * 20, 0)


@pytest.mark.parametrize("swap", [False, True])
def test_a_label_in_one_image_has_no_distance(case: tuple[np.ndarray, np.ndarray], swap: bool) -> None:
    _, reference = case
    pair = (reference, np.zeros_like(reference)) if swap else (np.zeros_like(reference), reference)
    row = score_labels(*pair, LABELS, SPACING, dimension=3)["organ"]
    assert [row[name] for name in ("hausdorff", "hd95", "assd")] == [None] * 3
    assert (row["dice"], row["iou"], row["f_beta"], row["nsd"]) == (0, 0, 0, 0)
    assert (row["precision"], row["sensitivity"]) == ((0, None) if swap else (None, 0))


def test_ignored_voxels_count_nowhere(case: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, reference = case
    reference[:, 14:] = 9
    scores = score_labels(prediction, reference, LABELS, SPACING, dimension=3, ignore=9)
    cut = score_labels(prediction[:, :14], reference[:, :14], LABELS, SPACING, dimension=3)
    assert scores == cut


def test_planes_have_outlines_and_areas() -> None:
    reference = np.zeros((1, 30, 30), np.uint8)
    reference[0, 5:15, 5:15] = 1
    prediction = np.roll(reference, 4, axis=2)
    row = score_labels(prediction, reference, {"1": (1,)}, (999.0, 0.5, 0.25), dimension=2)["1"]
    assert row["volume_ref"] == pytest.approx(100 * 0.5 * 0.25)
    assert row["hausdorff"] == pytest.approx(4 * 0.25)
    as_volume = score_labels(prediction, reference, {"1": (1,)}, (999.0, 0.5, 0.25), dimension=3)["1"]
    assert as_volume["assd"] < row["assd"]  # type: ignore[operator]  # in one slice every voxel is a border voxel


def test_chosen_metrics_and_tolerance(case: tuple[np.ndarray, np.ndarray]) -> None:
    loose = score_labels(*case, LABELS, SPACING, dimension=3, metrics=["nsd"], tolerance_mm=0.5)["organ"]
    tight = score_labels(*case, LABELS, SPACING, dimension=3, metrics=["nsd"], tolerance_mm=0.4)["organ"]
    assert list(loose) == ["nsd", *COUNTS, *VOLUMES, *SHAPE]
    assert loose["nsd"] == 1
    assert tight["nsd"] < 1  # type: ignore[operator]


def test_wrong_requests_are_refused(case: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'dice'"):
        score_labels(*case, LABELS, SPACING, dimension=3, metrics=["dise"])
    with pytest.raises(ConfigurationError, match="list of names"):
        score_labels(*case, LABELS, SPACING, dimension=3, metrics="dice")
    with pytest.raises(ImageError, match="several slices"):
        score_labels(*case, LABELS, SPACING, dimension=2)


def test_rows_of_the_table_are_complete() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.title
        assert metric.definition
        assert metric.source
        assert metric.range[0] < metric.range[1]
        assert (metric.unit == "mm") == (metric.best == "lower")
