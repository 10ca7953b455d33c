"""Scores of several methods side by side: what is filled in, what is left out, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scored_methods import ABSENT, FALSE_ALARM, MISSED, dice_only, result, row

from autoseg.errors import ConfigurationError
from autoseg.evaluation.scores import FOREGROUND
from autoseg.studies.comparison.statistics.score_table import NO_PREDICTION, score_table


def test_cases_are_aligned_by_identifier() -> None:
    a = result({"x": {"liver": row(0.1)}, "y": {"liver": row(0.2)}})
    b = result({"y": {"liver": row(0.4)}, "x": {"liver": row(0.3)}})
    column = score_table({"a": a, "b": b}).column("liver", "dice")
    assert column.cases == ("x", "y")
    assert column.values.tolist() == [[0.1, 0.2], [0.3, 0.4]]


def test_a_case_without_a_result_gets_the_worst_value_and_is_listed() -> None:
    a = result({"x": {"liver": row(0.9, 3.0)}, "y": {"liver": row(0.8, 7.0)}})
    b = result({"x": {"liver": row(0.95, 1.0)}}, errors={"y": "y: the grid differs\n  got: ..."})
    c = result({"x": {"liver": row(0.95, 1.0)}}, missing_predictions=["y"])
    table = score_table({"a": a, "b": b, "c": c})
    assert table.failures == {"a": {}, "b": {"y": "y: the grid differs"}, "c": {"y": NO_PREDICTION}}
    assert table.column("liver", "dice").values.tolist() == [[0.9, 0.8], [0.95, 0.0], [0.95, 0.0]]
    assert table.column("liver", "hd95").values.tolist() == [[3.0, 7.0], [1.0, 7.0], [1.0, 7.0]]
    assert table.column("liver", "hd95").filled.tolist() == [[False, False], [False, True], [False, True]]


def test_the_diagonal_is_the_worst_distance_where_it_is_known() -> None:
    results = {"a": dice_only([0.9, 0.8]), "b": dice_only([0.9])}
    table = score_table(results, diagonals={"c00": 300.0, "c01": 400.0})
    assert table.column("liver", "hd95").values.tolist() == [[2.0, 2.0], [2.0, 400.0]]


def test_a_label_that_the_reference_lacks_is_left_out_for_all_and_counted() -> None:
    a = result({"x": {"tumour": row(0.5)}, "y": {"tumour": ABSENT}, "z": {"tumour": ABSENT}})
    b = result({"x": {"tumour": row(0.6)}, "y": {"tumour": FALSE_ALARM}, "z": {"tumour": ABSENT}})
    table = score_table({"a": a, "b": b})
    assert table.column("tumour", "dice").cases == ("x",)
    assert table.absent == {"tumour": 2}
    assert table.false_alarms == {"a": {"tumour": 0}, "b": {"tumour": 1}}


def test_a_missed_label_has_the_worst_distance() -> None:
    a = result({"x": {"tumour": row(0.5, 4.0)}, "y": {"tumour": row(0.5, 9.0)}})
    b = result({"x": {"tumour": MISSED}, "y": {"tumour": row(0.6, 2.0)}})
    table = score_table({"a": a, "b": b})
    assert table.column("tumour", "hd95").values.tolist() == [[4.0, 9.0], [9.0, 2.0]]
    assert table.missed == {"a": {"tumour": 0}, "b": {"tumour": 1}}
    assert not table.column("tumour", "dice").filled.any()  # 0 is what Dice is, not a stand-in


def test_another_method_changes_no_value_of_the_others() -> None:
    a = result({"x": {"t": row(0.5)}, "y": {"t": ABSENT}, "z": {"t": MISSED}})
    b = result({"x": {"t": row(0.6)}, "y": {"t": FALSE_ALARM}, "z": {"t": row(0.4)}})
    c = result({"x": {"t": MISSED}})
    alone, together = score_table({"a": a, "b": b}), score_table({"a": a, "b": b, "c": c})
    assert np.array_equal(together.column("t", "dice").values[:2], alone.column("t", "dice").values)


def test_a_distance_that_no_method_has_is_left_out() -> None:
    table = score_table({"a": result({"x": {"t": MISSED}}), "b": result({"x": {"t": MISSED}})})
    assert table.column("t", "hd95").cases == ()
    assert table.column("t", "dice").values.tolist() == [[0.0], [0.0]]


def test_the_foreground_is_the_mean_over_the_labels_that_a_case_has() -> None:
    a = result({"x": {"l": row(0.9), "t": row(0.5)}, "y": {"l": row(0.7), "t": ABSENT}})
    b = result({"x": {"l": row(0.8), "t": row(0.1)}})
    table = score_table({"a": a, "b": b})
    assert table.labels == ("l", "t", FOREGROUND)
    assert np.allclose(table.column(FOREGROUND, "dice").values, [[0.7, 0.7], [0.45, 0.0]])
    assert table.column(FOREGROUND, "dice").filled.tolist() == [[False, False], [False, True]]
    assert score_table({"a": dice_only([0.5])}).labels == ("liver",)


def test_cases_may_be_chosen() -> None:
    results = {"a": dice_only([0.9, 0.8, 0.7]), "b": dice_only([0.6])}
    table = score_table(results, cases=["c00", "c02"])
    assert table.cases == ("c00", "c02")
    assert table.failures == {"a": {}, "b": {"c02": NO_PREDICTION}}


def test_a_case_that_every_method_failed_on_counts_against_all() -> None:
    table = score_table({"a": dice_only([0.9]), "b": dice_only([0.8])}, cases=["c00", "c01"])
    assert table.column("liver", "dice").values.tolist() == [[0.9, 0.0], [0.8, 0.0]]


def test_what_cannot_be_compared_is_refused() -> None:
    good = result({"x": {"l": row(0.5)}})
    with pytest.raises(ConfigurationError, match="no method has a score"):
        score_table({"a": result({}, errors={"x": "damaged"})})
    with pytest.raises(ConfigurationError, match="x: l: the methods were not scored against the same reference"):
        score_table({"a": good, "b": result({"x": {"l": row(0.5, n_ref=999)}})})
    with pytest.raises(ConfigurationError, match="same reference"):  # a label that the other scheme does not have
        score_table({"a": good, "b": result({"x": {"other": row(0.5)}})})
    with pytest.raises(ConfigurationError, match="voxel counts"):
        score_table({"a": result({"x": {"l": {"dice": 0.5}}})})
    with pytest.raises(ConfigurationError, match="not computed for all") as error:
        score_table({"a": good}, metrics=["nsd"])
    assert error.value.expected == "one of dice, hd95"
    with pytest.raises(ConfigurationError, match="unknown label 'm'"):
        score_table({"a": good}).column("m", "dice")
