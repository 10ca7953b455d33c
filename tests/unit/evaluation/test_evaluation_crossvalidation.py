"""Rows of a summary, of this and of earlier versions' form."""

from __future__ import annotations

from autoseg.evaluation.crossvalidation import model_rows
from autoseg.evaluation.scores import FOREGROUND
from autoseg.evaluation.summary import Summary


def test_configurations_and_ensembles_are_rows() -> None:
    scores = {
        "mean": {"organ": {"dice": 0.9, "hd95": 2.0}, "lesion": {"dice": None}},
        "foreground_mean": {"dice": 0.9},
        "folds": {"0": {"foreground_mean": 0.8, "organ": 0.8, "lesion": None}},
        "cases": 7,
    }
    summary = {
        "configurations": {"2d": scores, "3d_fullres": {**scores, "folds": {"0": 0.7}}},
        "ensembles": {"2d+3d_fullres": {**scores, "configurations": ["2d", "3d_fullres"]}},
        "best": {"configurations": ["2d", "3d_fullres"]},
    }
    single, older, ensemble = model_rows(Summary.from_mapping(summary))
    assert [row.name for row in (single, older, ensemble)] == ["2d", "3d_fullres", "2d + 3d_fullres"]
    assert [row.chosen for row in (single, older, ensemble)] == [False, False, True]
    assert single.dice == {"organ": 0.9, "lesion": None, FOREGROUND: 0.9}
    assert single.folds == {"0": {"organ": 0.8, "lesion": None, FOREGROUND: 0.8}}
    assert older.folds == {"0": {FOREGROUND: 0.7}}
    assert (ensemble.configurations, ensemble.cases) == (("2d", "3d_fullres"), 7)


def test_a_summary_of_nothing_has_no_rows() -> None:
    assert model_rows(Summary()) == ()
