"""What the terminal says after a cross-validation and after a prediction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.cli import tables
from autoseg.evaluation.crossvalidation import model_rows
from autoseg.evaluation.scores import Scores, summarise
from autoseg.evaluation.summary import Summary
from autoseg.evaluation.uncertainty import summarise_uncertainty
from autoseg.inference.estimate import CaseEstimate, LabelEstimate, write_estimates
from autoseg.workspace import Run


def scores(organ: float, lesion: float | None, fold_0: float, fold_1: float) -> dict[str, Any]:
    return {
        "mean": {"organ [left]": {"dice": organ}, "lesion": {"dice": lesion}},
        "foreground_mean": {"dice": organ if lesion is None else (organ + lesion) / 2},
        "folds": {"0": {"foreground_mean": fold_0, "organ [left]": organ}, "1": {"foreground_mean": fold_1}},
        "cases": 40,
    }


def summary() -> dict[str, Any]:
    return {
        "configurations": {"2d": scores(0.8, None, 0.79, 0.81), "3d_fullres": scores(0.9, 0.7, 0.82, 0.78)},
        "ensembles": {"2d+3d_fullres": {"configurations": ["2d", "3d_fullres"], **scores(0.91, 0.71, 0.83, 0.79)}},
        "best": {
            "configurations": ["2d", "3d_fullres"],
            "folds": ["0", "1"],
            "foreground_mean_dice": 0.81,
            "postprocessing": ["largest-component:organ [left]"],
            "foreground_mean_dice_postprocessed": 0.8123,
            "predict": "autoseg predict RUN IMAGES --out DIR",
        },
    }


def printed(run: Run, content: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    run.summary.write_text(json.dumps(content), encoding="utf-8")
    tables.show_results(run)
    return capsys.readouterr().out


def test_every_model_has_a_row_and_the_best_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(Run(tmp_path), summary(), capsys)
    rows = [line.split() for line in shown.splitlines() if line.strip()]
    assert ["organ", "[left]", "lesion", "foreground", "fold", "0", "fold", "1", "cases"] in rows
    assert ["2d", "0.8000", "-", "0.8000", "0.7900", "0.8100", "40"] in rows
    assert ["3d_fullres", "0.9000", "0.7000", "0.8000", "0.8200", "0.7800", "40"] in rows
    assert ["2d", "+", "3d_fullres", "(best)", "0.9100", "0.7100", "0.8100", "0.8300", "0.7900", "40"] in rows
    assert "best: 2d + 3d_fullres" in shown
    assert "post-processing: largest-component:organ [left] (foreground Dice 0.8100 -> 0.8123)" in shown
    assert "to use it: autoseg predict RUN IMAGES --out DIR" in shown
    assert f"report: {Run(tmp_path).report}" in shown
    assert "estimated Dice" not in shown


def test_uncertainty_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = np.random.default_rng(0).uniform(0.5, 1, 60)
    cases = {str(i): (str(i % 2), {"organ": (x, x**2)}) for i, x in enumerate(expected)}
    made = summarise_uncertainty(cases)
    shown = printed(Run(tmp_path), summary() | {"uncertainty": made.model_dump(mode="json")}, capsys)
    line = next(line for line in shown.splitlines() if line.startswith("estimated Dice of new cases: "))
    assert "tells good from bad cases well (rank correlation 1.00, 95 % interval 1.00 to 1.00, 60 cases)" in line


def result_rows(content: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    return tables.result_rows(model_rows(Summary.from_mapping(content)))


def test_runs_with_one_fold_or_many_classes_have_narrow_tables() -> None:
    one = {**scores(0.9, 0.7, 0.8, 0.8), "folds": {"0": 0.8}}
    headings, rows = result_rows({"configurations": {"2d": one}, "best": {}})
    assert headings == ["", "organ [left]", "lesion", "foreground", "cases"]
    assert rows == [["2d", "0.9000", "0.7000", "0.8000", "40"]]
    many = {"mean": {str(i): {"dice": 0.5} for i in range(30)}, "foreground_mean": {"dice": 0.5}, "cases": 3}
    assert result_rows({"configurations": {"2d": many}})[0] == ["", "foreground", "cases"]
    assert result_rows({"configurations": {}}) == (["", "foreground", "cases"], [])


def test_cases_are_counted_by_class_where_not_every_class_was_looked_for() -> None:
    one = {**scores(0.9, 0.7, 0.8, 0.8), "counted": {"organ [left]": 40, "lesion": 12}}
    assert result_rows({"configurations": {"2d": one}})[1][0][-1] == "40 (organ [left] 40, lesion 12)"
    both, first = {"a": {"dice": 0.5}, "b": {"dice": 1.0}}, {"a": {"dice": 0.7}}
    rows = tables.score_rows(summarise({"x": both, "y": first}))
    assert [row[-1] for row in rows] == ["2", "1", "2"]
    assert [len(row) for row in tables.score_rows(summarise({"x": both, "y": both}))] == [5, 5, 5]


def test_a_score_that_does_not_exist_is_a_dash() -> None:
    scores = Scores(cases={}, mean={"liver": {"dice": 0.9, "nsd": None, "hd95": 2.5}}, foreground_mean={"dice": 0.9})
    assert tables.score_rows(scores)[0] == ["liver", "0.900", "-", "2.500", "-"]


def case(flagged: bool | None, **estimates: float | None) -> CaseEstimate:
    labels = {
        name: LabelEstimate(expected_dice=value, estimate=value, flagged=flagged and (value is None or value < 0.7))
        for name, value in estimates.items()
    }
    unknown = LabelEstimate(expected_dice=None, estimate=None, flagged=None)
    return CaseEstimate(flagged=flagged, foreground=unknown, labels=labels)


def test_flagged_cases_are_listed_the_least_sure_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "uncertainty.json"
    flagged = {"q": case(True, organ=0.6, lesion=0.5), "r": case(True, organ=0.9, lesion=None)}
    write_estimates(path, {"p": case(False, organ=0.9), **flagged})
    tables.show_uncertainty(path)
    shown = capsys.readouterr().out
    assert "worth looking at: 2 of 3 cases" in shown
    rows = [" ".join(line.split()) for line in shown.splitlines() if line.strip()]
    assert rows[-2:] == ["r lesion nothing found", "q organ, lesion 0.60, 0.50"]
    write_estimates(path, {f"c{i:02d}": case(True, organ=0.5) for i in range(25)})
    tables.show_uncertainty(path)
    assert f"and 5 more: see {path}" in capsys.readouterr().out


def test_nothing_is_claimed_without_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "uncertainty.json"
    write_estimates(path, {"p": case(False, organ=0.9)})
    tables.show_uncertainty(path)
    assert capsys.readouterr().out == "worth looking at: none of 1 case stands out\n"
    write_estimates(path, {"p": case(None, organ=0.9)})
    tables.show_uncertainty(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (999, "999"), (999.6, "1 k"), (31_234_000, "31.2 M"), (5.5e11, "550 G"), (2e12, "2 T")],
)
def test_large_numbers_are_short(value: float, text: str) -> None:
    assert tables.engineering(value) == text
