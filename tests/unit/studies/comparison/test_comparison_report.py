"""The page of a comparison: the best first, differences from one method's side, and nothing from outside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import pytest

from autoseg.evaluation.scores import Scores
from autoseg.studies.comparison.report.page import comparison_figures, render_comparison
from autoseg.studies.comparison.report.tables import comparison_tables, seconds_words
from autoseg.studies.comparison.statistics.comparison import compare
from autoseg.studies.comparison.statistics.findings import exclusions, findings
from autoseg.studies.comparison.statistics.method_comparison import MethodComparison, main_label, score_columns
from autoseg.studies.comparison.statistics.method_run import CaseRun, MethodFold, summarise_method
from autoseg.studies.comparison.statistics.score_table import score_table

CASES = 10


def scores(dice: Sequence[float]) -> Scores:
    """A result with two labels; the second is a tenth worse."""
    rows = {}
    for number, value in enumerate(dice):
        both = {"core": value, "rim <1>": value - 0.1}
        rows[f"case_{number}"] = {
            label: {"dice": one, "hd95": 10 * (1 - one), "n_ref": 50, "n_pred": 40} for label, one in both.items()
        }
    return Scores(cases=rows)


def ran(name: str, seconds: float) -> MethodFold:
    cases = {f"case_{number}": CaseRun(seconds=seconds, peak_gb=0.5) for number in range(CASES)}
    return MethodFold(
        method=name, plugin=name, description=f"About {name} & more", fold="0", seed=0, options={}, training=("a",),
        of_training=3, fit_seconds=seconds, cases=cases,
    )  # fmt: skip


@cache
def comparison(reference: str | None, **shifts: float) -> MethodComparison:
    table = score_table(
        {name: scores([0.6 + 0.01 * n + shift for n in range(CASES)]) for name, shift in shifts.items()},
        metrics=["dice", "hd95"],
    )
    found = compare(table, reference=reference, resamples=200)
    return MethodComparison(
        dataset="Toys <2>", folder="toys", command=("autoseg", "compare"), folds=("0",), of_folds=5, seed=0,
        methods=tuple(summarise_method([ran(name, 0.02)]) for name in shifts), main=main_label(table),
        comparison=found, scores=score_columns(table), findings=findings(found, label=main_label(table)), details=(),
        exclusions=exclusions(found), advised="ours", advice=(), machine={"cores": 2},
    )  # fmt: skip


def test_methods_stand_in_the_order_of_their_places() -> None:
    made = comparison("ours", otsu=-0.2, ours=0.0, forest=-0.1)
    tables = comparison_tables(made)
    assert [one.name for one in tables.methods] == ["ours", "forest", "otsu"] == list(made.order)
    assert [one.place for one in tables.methods] == [1, 2, 3]
    assert [metric.name for metric in tables.metrics] == ["dice", "hd95"]
    assert tables.methods[0].trained == "1 of 3"
    assert list(tables.labels) == ["core", "rim <1>", "foreground_mean"]
    assert tables.labels["rim <1>"]["otsu"]["dice"].mean == pytest.approx(0.6 + 0.045 - 0.2 - 0.1)


@pytest.mark.parametrize("reference", ["ours", None])
def test_differences_are_the_base_minus_the_others(reference: str | None) -> None:
    """Also where a pair was compared the other way round."""
    tables = comparison_tables(comparison(reference, otsu=-0.2, ours=0.0, forest=-0.1))
    assert tables.base == "ours"
    main = [one for one in tables.differences["dice"] if one.label == "foreground_mean"]
    assert {one.other: one.mean for one in main} == {"forest": pytest.approx(0.1), "otsu": pytest.approx(0.2)}
    for one in main:
        assert (one.wins, one.losses, one.effect, one.better) == (CASES, 0, 1.0, "ours")
        assert one.interval is not None
        assert one.interval[0] == pytest.approx(one.mean)
    distances = [one for one in tables.differences["hd95"] if one.label == "core"]
    assert {one.other: one.mean for one in distances} == {"forest": pytest.approx(-1), "otsu": pytest.approx(-2)}
    assert all(one.effect == 1.0 for one in distances)


def test_the_page_needs_nothing_from_outside_and_escapes_names() -> None:
    page = render_comparison(comparison("ours", otsu=-0.2, ours=0.0))
    assert "Toys &lt;2&gt;" in page
    assert "Toys <2>" not in page
    assert "rim <1>" not in page
    assert "About otsu &amp; more" in page
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page)
    identifiers = re.findall(r'\bid="([^"]*)"', page)
    assert len(identifiers) == len(set(identifiers))
    assert page.count("<section") == page.count("</section>")


def test_a_single_method_has_scores_but_no_differences() -> None:
    made = comparison(None, ours=0.0)
    figures = comparison_figures(made)
    assert len(figures.boxes) == 4  # Dice of two labels and their mean, and one distance
    assert figures.stability == figures.forests == ()
    assert comparison_tables(made).differences == {"dice": (), "hd95": ()}
    assert "nothing to rank" in render_comparison(made)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (0.004, "<0.01s"), (0.26, "0.26s"), (4.26, "4.3s"), (9.97, "10s"), (75.0, "1m15s")],
)
def test_times_have_the_digits_that_tell_methods_apart(seconds: float | None, words: str) -> None:
    assert seconds_words(seconds) == words
