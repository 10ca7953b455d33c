"""Results as records: what their files hold, that nothing is lost on the way, and files of earlier versions."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.errors import AutosegError, ConfigurationError
from autoseg.evaluation.crossvalidation import model_rows
from autoseg.evaluation.scores import FOREGROUND, Scores, summarise
from autoseg.evaluation.summary import ModelScores, Summary
from autoseg.evaluation.uncertainty import summarise_uncertainty
from autoseg.inference.choice import Choice, read_choice
from autoseg.workspace import Run

NUMBERS = st.none() | st.floats(width=32) | st.integers(0, 10**9)
NAMES = st.sampled_from(("liver", "tumour [left]", "deformation", "1", "cases"))
CASES = st.dictionaries(
    st.text(max_size=5),
    st.dictionaries(NAMES, st.dictionaries(st.sampled_from(("dice", "hd95", "n_ref", "folded_percent")), NUMBERS)),
    max_size=6,
)
STATISTICS = {
    "mean": {"organ": {"dice": 0.75, "n_ref": 12.0}, "lesion": {"dice": None, "n_ref": 0.0}},
    "foreground_mean": {"dice": 0.75, "n_ref": 6.0},
    "median": {"organ": {"dice": 0.75, "n_ref": 12.0}, "lesion": {"dice": None, "n_ref": 0.0}},
    "std": {"organ": {"dice": 0.25, "n_ref": 0.0}, "lesion": {"dice": None, "n_ref": 0.0}},
    "undefined": {"organ": {"dice": 0, "n_ref": 0}, "lesion": {"dice": 2, "n_ref": 0}},
}
VALIDATION: dict[str, Any] = {
    "cases": {
        "a": {"organ": {"dice": 0.5, "n_ref": 12}, "lesion": {"dice": None, "n_ref": 0}},
        "b": {"organ": {"dice": 1.0, "n_ref": 12}, "lesion": {"dice": None, "n_ref": 0}},
    },
    **STATISTICS,
    "errors": {},
}
MODEL: dict[str, Any] = {
    "cases": 2,
    **STATISTICS,
    "folds": {"0": {"foreground_mean": 0.5, "organ": 0.5, "lesion": None}, "1": {"foreground_mean": 1.0, "organ": 1.0}},
}
RUN: dict[str, Any] = {
    "configurations": {"2d": MODEL, "3d_fullres": MODEL},
    "ensembles": {"2d+3d_fullres": {**MODEL, "configurations": ["2d", "3d_fullres"]}},
    "best": {
        "configurations": ["2d", "3d_fullres"],
        "folds": ["0", "1"],
        "foreground_mean_dice": 0.75,
        "postprocessing": ["largest-component:organ"],
        "foreground_mean_dice_postprocessed": None,
        "predict": "autoseg predict RUN IMAGES --out DIR",
    },
}
REGISTRATION = {
    "configurations": {"3d_fullres": MODEL},
    "ensembles": {},
    "best": {
        "configurations": ["3d_fullres"],
        "folds": ["0"],
        "foreground_mean_dice": None,
        "predict": "autoseg register FIXED MOVING --model RUN --out DIR",
    },
}
FILES = {
    "a validation": (Scores, VALIDATION),
    "an evaluation": (Scores, {**VALIDATION, "missing_predictions": [], "extra_predictions": ["c"]}),
    "nothing": (Scores, {key: {} for key in VALIDATION}),
    "a run": (Summary, RUN),
    "a run that labels nothing": (Summary, REGISTRATION),
    "a run of before there was a command": (
        Summary,
        {**REGISTRATION, "best": {"configurations": ["3d_fullres"], "folds": [], "foreground_mean_dice": 0.5}},
    ),
}


@pytest.mark.parametrize(("record", "content"), FILES.values(), ids=FILES.keys())
def test_files_keep_their_form_and_the_order_of_their_fields(
    record: type[Scores] | type[Summary], content: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "summary.json"
    text = json.dumps(content, indent=1) + "\n"
    path.write_text(text, encoding="utf-8")
    found = record.load(path)
    found.save(path)
    assert path.read_text(encoding="utf-8") == text
    assert record.load(path) == found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(CASES, st.none() | st.lists(st.text(max_size=3)), st.dictionaries(st.text(max_size=3), st.text(max_size=3)))
def test_scores_go_through_their_file_unchanged(
    tmp_path_factory: pytest.TempPathFactory, cases: Any, missing: list[str] | None, errors: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("scores") / "scores.json"
    scores = summarise(cases, errors=errors, missing_predictions=missing)
    scores.save(path)
    assert Scores.load(path) == scores
    assert json.loads(path.read_text(encoding="utf-8")) == scores.model_dump(mode="json")
    for case, rows in cases.items():
        for label, row in rows.items():
            for metric, value in row.items():
                kept = scores.cases[case][label][metric]
                assert kept is None if value is None or not math.isfinite(value) else kept == value
                assert type(kept) is type(value) or kept is None  # a count stays a whole number


@settings(max_examples=30, deadline=None, derandomize=True)
@given(CASES, st.none() | st.lists(st.text(max_size=3)), st.integers(0, 12))
def test_a_summary_goes_through_its_file_unchanged(
    tmp_path_factory: pytest.TempPathFactory, cases: Any, steps: list[str] | None, known: int
) -> None:
    path = tmp_path_factory.mktemp("run") / "summary.json"
    pooled = summarise(cases)
    model = ModelScores(
        cases=len(cases), mean=pooled.mean, foreground_mean=pooled.foreground_mean, std=pooled.std,
        folds={"0": {FOREGROUND: pooled.foreground_dice, **pooled.dice}},
    )  # fmt: skip
    pairs = {f"case{i}": (str(i % 2), {"liver": (0.5 + 0.03 * i, 0.9 - 0.03 * i)}) for i in range(known)}
    summary = Summary(
        configurations={"2d": model},
        ensembles={"2d+3d": model.with_(configurations=("2d", "3d"))},
        best=Choice(configurations=("2d",), folds=("0",), postprocessing=steps),
        uncertainty=summarise_uncertainty(pairs, configurations=("2d",)) if pairs else None,
    )
    summary.save(path)
    assert Summary.load(path) == summary
    assert summary.with_() == summary
    assert read_choice(Run(path.parent)) == summary.best


def test_what_readers_ask_for_has_a_name() -> None:
    scores, summary = Scores.from_mapping(VALIDATION), Summary.from_mapping(RUN)
    assert (scores.foreground_dice, scores.dice) == (0.75, {"organ": 0.75, "lesion": None})
    assert list(summary.models) == [("2d",), ("3d_fullres",), ("2d", "3d_fullres")]
    assert summary.models[summary.best.configurations].dice == scores.dice
    assert summary.validated
    assert scores.missing_predictions is None


def test_rows_that_are_not_about_a_label_have_no_dice() -> None:
    scores = summarise({"a": {"liver": {"dice": 0.5}, "deformation": {"folded_percent": 2.0}}})
    assert scores.mean["deformation"] == {"folded_percent": 2.0}
    assert scores.dice == {"liver": 0.5}


def test_a_run_that_validated_nothing_says_so(tmp_path: Path) -> None:
    summary = Summary()
    assert not summary.validated
    assert (summary.best.configurations, summary.models, model_rows(summary)) == ((), {}, ())
    assert read_choice(Run(tmp_path)) == Choice()
    summary.save(tmp_path / "summary.json")
    assert Summary.load(tmp_path / "summary.json") == summary


def test_files_of_earlier_versions_are_read() -> None:
    old = {key: value for key, value in MODEL.items() if key not in ("cases", "median", "std", "undefined")}
    summary = Summary.from_mapping(
        {
            "configurations": {"2d": {**old, "folds": {"0": 0.5, "1": None}, "seconds": 3}},
            "ensembles": {"2d+3d": old},
            "best": {"configuration": "2d", "note": "text"},
            "uncertainty": None,
            "trainer": "segmentation",
        }
    )
    assert summary.configurations["2d"].folds == {"0": {FOREGROUND: 0.5}, "1": {FOREGROUND: None}}
    assert list(summary.models) == [("2d",), ("2d", "3d")]
    assert summary.best.configurations == ("2d",)
    assert summary.uncertainty is None
    scores = Scores.from_mapping({"cases": VALIDATION["cases"], "seconds": 3})
    assert (scores.mean, scores.errors) == ({}, {})
    assert Summary.from_mapping({"best": None, "ensembles": None, "uncertainty": {}}) == Summary()


def test_a_wrong_value_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    for content in ({"cases": {"a": {"liver": {"dice": "high"}}}}, {"cases": ["a"]}, {}):
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(AutosegError) as caught:
            Scores.load(path)
        assert str(path) in str(caught.value)
        assert "cases" in str(caught.value)


def test_the_choice_is_read_whatever_else_is_in_the_file(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.summary.write_text(json.dumps({**RUN, "uncertainty": {"nonsense": 1}}), encoding="utf-8")
    assert read_choice(run).configurations == ("2d", "3d_fullres")
    with pytest.raises(AutosegError, match="nonsense"):
        Summary.load(run.summary)
    run.summary.write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="does not hold a mapping"):
        read_choice(run)
