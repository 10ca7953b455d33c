"""What is kept of methods that ran: times over folds, places of images, and scores as plain values."""

from __future__ import annotations

import pytest
from scored_methods import dice_only

from autoseg.studies.comparison.statistics.method_comparison import main_label, score_columns
from autoseg.studies.comparison.statistics.method_run import (
    CaseRun,
    MethodFold,
    failures_of,
    places_of,
    summarise_method,
)
from autoseg.studies.comparison.statistics.score_table import score_table

DONE = {"shape": (3, 4), "spacing": (1.0, 1.0)}


def fold(name: str, *seconds: float | None, failure: str | None = None) -> MethodFold:
    runs = (
        CaseRun(failure="ValueError") if one is None else CaseRun(seconds=one, peak_gb=one / 10, **DONE)
        for one in seconds
    )
    return MethodFold(
        method="otsu",
        plugin="otsu",
        fold=name,
        seed=0,
        options={},
        training=("a", "b"),
        of_training=4,
        fit_seconds=None if failure else 10.0,
        failure=failure,
        cases={f"case_{name}_{number}": run for number, run in enumerate(runs)},
    )


def test_a_method_is_summarised_over_its_folds() -> None:
    summary = summarise_method([fold("0", 1.0, 5.0, None), fold("1", 2.0)])
    assert (summary.seconds, summary.longest_seconds, summary.peak_gb) == (2.0, 5.0, 0.5)
    assert summary.fit_seconds == 20.0
    assert (summary.training, summary.of_training) == ({"0": 2, "1": 2}, {"0": 4, "1": 4})


def test_a_method_that_could_not_be_fit_has_no_times() -> None:
    summary = summarise_method([fold("0", None, failure="no such file")])
    assert (summary.seconds, summary.longest_seconds, summary.peak_gb, summary.fit_seconds) == (None,) * 4
    assert summary.failed_fits == {"0": "no such file"}


def test_failures_and_places_are_told_by_case() -> None:
    folds = [fold("0", None, 1.0)]
    assert failures_of(folds) == {"case_0_0": "ValueError"}
    diagonals, spacings = places_of(folds)
    assert diagonals == {"case_0_1": pytest.approx(5.0)}
    assert spacings == {"case_0_1": (1.0, 1.0)}


def test_columns_hold_the_values_of_the_table_and_what_was_filled_in() -> None:
    results = {"a": dice_only([0.5, 0.25]), "b": dice_only([0.75, 0.5])}
    lost, *kept = results["b"].cases
    results["b"] = results["b"].with_(cases={case: results["b"].cases[case] for case in kept})
    table = score_table(results, metrics=["dice"])
    (column,) = score_columns(table)
    assert column.label == main_label(table)
    assert column.values == {"a": (0.5, 0.25), "b": (0.0, 0.5)}
    assert column.filled == {"a": (), "b": (lost,)}
