"""nnU-Net's scores and post-processing, in the form of its files typed out here."""

from __future__ import annotations

from typing import Any

import pytest

from autoseg.data.labels import LabelScheme
from autoseg.exchange.nnunet.scores import read_postprocessing, read_scores

PLAIN = LabelScheme(names={"background": 0, "liver": 1, "tumour": 2})
REGIONS = LabelScheme(
    names={"background": 0, "rim": 3}, regions={"whole": (1, 2, 3), "core": (2,), "rim": (3,)}, region_order=(1, 2, 3)
)
FUNCTION = "remove_all_but_largest_component_from_segmentation"


def _row(name: str, **metrics: Any) -> dict[str, Any]:
    return {"prediction_file": name, "reference_file": "r", "metrics": metrics}


def test_scores_keep_names_and_missing_values() -> None:
    one = {"1": {"Dice": 0.9, "IoU": 0.8, "TP": 3}, "2": {"Dice": float("nan"), "IoU": float("nan"), "TP": 0}}
    two = {"1": {"Dice": 0.7, "IoU": 0.6, "TP": 3}, "2": {"Dice": 0.5, "IoU": 0.25, "TP": 1}}
    content = {"metric_per_case": [_row("/a/b/case_1.nii.gz", **one), _row("C:\\a\\case_0.nii.gz", **two)]}
    found = read_scores(content, PLAIN, ".nii.gz")
    assert found.cases == {
        "case_0": {"liver": {"dice": 0.7, "iou": 0.6}, "tumour": {"dice": 0.5, "iou": 0.25}},
        "case_1": {"liver": {"dice": 0.9, "iou": 0.8}, "tumour": {"dice": None, "iou": None}},
    }
    assert found.mean["liver"]["dice"] == pytest.approx(0.8)
    assert found.foreground_dice == pytest.approx(0.65)
    assert found.undefined["tumour"]["dice"] == 1
    assert read_scores({}, PLAIN, ".nii.gz").cases == {}


def test_scores_of_regions_are_found_by_their_values() -> None:
    metrics = {"(1, 2, 3)": {"Dice": 0.9}, "2": {"Dice": 0.5}, "3": {"Dice": 0.4}, "7": {"Dice": 0.1}}
    found = read_scores({"metric_per_case": [_row("case.png", **metrics)]}, REGIONS, ".png")
    dice = {name: row["dice"] for name, row in found.cases["case"].items()}
    assert dice == {"whole": 0.9, "core": 0.5, "rim": 0.4}


@pytest.mark.parametrize(
    ("labels", "kept", "steps"),
    [
        (PLAIN, [[1, 2]], ("all-foreground",)),
        (PLAIN, [[1, 2], 2], ("all-foreground", "tumour")),
        (PLAIN, [], ()),
        (REGIONS, [[1, 2, 3], [1, 2, 3], 2], ("all-foreground", "core")),
    ],
)
def test_postprocessing_becomes_steps(labels: LabelScheme, kept: list[Any], steps: tuple[str, ...]) -> None:
    content = {
        "input_folder": {"foreground_mean": {"Dice": 0.8}, "mean": {"1": {"Dice": 0.7}, "2": {"Dice": 0.9}}},
        "postprocessed": {"foreground_mean": {"Dice": 0.85}, "mean": {"1": {"Dice": 0.75}, "2": {"Dice": 0.95}}},
        "postprocessing_fns": [FUNCTION] * len(kept),
        "postprocessing_kwargs": [{"labels_or_regions": values} for values in kept],
    }
    decision = read_postprocessing(content, labels, FUNCTION)
    assert decision is not None
    assert decision.steps == tuple(f"largest-component:{step}" for step in steps)
    assert (decision.before.foreground, decision.after.foreground) == (0.8, 0.85)
    if labels is PLAIN:
        assert decision.after.labels == {"liver": 0.75, "tumour": 0.95}


@pytest.mark.parametrize(
    ("function", "options"),
    [
        ("my_function", {"labels_or_regions": 1}),
        (FUNCTION, {"labels_or_regions": 1, "background_label": 5}),
        (FUNCTION, {"labels_or_regions": 4}),
    ],
)
def test_an_unknown_step_is_no_decision(function: str, options: dict[str, Any]) -> None:
    content = {"postprocessing_fns": [function], "postprocessing_kwargs": [options]}
    assert read_postprocessing(content, PLAIN, FUNCTION) is None
