"""Methods compared: against pandas and SciPy, the definition of Holm's correction, properties, and the sentences."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scored_methods import ABSENT, FALSE_ALARM, MISSED, dice_only, result, row

from autoseg.errors import ConfigurationError
from autoseg.evaluation.significance import holm, signed_rank_test
from autoseg.studies.comparison.statistics.comparison import Comparison, compare
from autoseg.studies.comparison.statistics.findings import exclusions, findings
from autoseg.studies.comparison.statistics.score_table import ScoreTable, score_table

FEW = 400
"""Resamples where the interval does not matter."""


def table_of(**dice: Iterable[float]) -> ScoreTable:
    return score_table({name: dice_only(list(values)) for name, values in dice.items()}, metrics=["dice"])


def simulated(seed: int = 0, cases: int = 20) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    hardness = generator.uniform(0.5, 0.9, cases)
    shifts = {"a": 0.05, "b": 0.02, "c": 0.0}
    return {name: np.clip(hardness + generator.normal(shift, 0.03, cases), 0, 1) for name, shift in shifts.items()}


def test_holm_is_closed_testing_with_bonferroni() -> None:
    """By definition each corrected value is the largest of Bonferroni's over all sets of hypotheses with that one."""
    generator = np.random.default_rng(0)
    for count in range(7):
        p = generator.choice([0.001, 0.01, 0.02, 0.2, 0.7], count) * generator.uniform(0.5, 1, count)
        closed = [
            max(
                min(1.0, size * min(p[list(chosen)]))
                for size in range(1, count + 1)
                for chosen in combinations(range(count), size)
                if one in chosen
            )
            for one in range(count)
        ]
        assert holm(p.tolist()) == pytest.approx(closed)


def test_holm_keeps_order_and_ties() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.6, 0.6]) == (1, 1)
    assert holm([]) == ()


@pytest.mark.parametrize("count", [6, 12, 30, 80])
def test_the_signed_rank_test_is_scipys(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.02, 0.05, count)
    test = signed_rank_test(differences)
    known = stats.wilcoxon(differences)
    assert test.p == pytest.approx(known.pvalue)
    assert min(1 - test.effect, 1 + test.effect) * count * (count + 1) / 4 == pytest.approx(known.statistic)
    assert test.above + test.below == count


def test_few_cases_with_ties_and_zeros_are_tested_exactly() -> None:
    differences = np.array([0.1, 0.1, 0.0, 0.2, -0.1, 0.3, 0.2, 0.0])
    ranks = np.where(differences == 0, 0, stats.rankdata(np.abs(differences)))  # Pratt: zeros have ranks that are lost
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(ranks))).reshape(len(ranks), -1)
    sums = np.abs(signs.T @ ranks)
    observed = abs((np.sign(differences) * ranks).sum())
    assert signed_rank_test(differences).p == pytest.approx((sums >= observed - 1e-9).mean())


def test_the_effect_is_one_where_all_cases_agree() -> None:
    assert signed_rank_test(np.array([0.1, 0.3, 0.0])).effect == 1
    assert signed_rank_test(-np.array([0.1, 0.3, 0.2])).effect == -1
    assert signed_rank_test(np.array([0.1, 0.2, -0.3])).effect == 0
    assert signed_rank_test(np.array([])).p == 1


def test_rounding_makes_no_difference_of_equal_ones() -> None:
    assert signed_rank_test(np.array([0.3 - 0.2, 0.2 - 0.1, -(0.4 - 0.3)])).effect == pytest.approx(1 / 3)


def test_statistics_are_those_of_pandas() -> None:
    scores = simulated()
    comparison = compare(table_of(**scores), resamples=FEW)
    for found in comparison.statistics:
        known = pd.Series(scores[found.method])
        assert (found.cases, found.filled, found.left_out) == (20, 0, 0)
        assert (found.mean, found.std) == pytest.approx((known.mean(), known.std()))
        assert found.quartiles == pytest.approx(known.quantile([0.25, 0.5, 0.75]).tolist())
        assert (found.minimum, found.maximum) == (known.min(), known.max())
        assert found.interval is not None
        assert found.interval[0] < known.mean() < found.interval[1]


def test_every_two_methods_are_compared_and_corrected_together() -> None:
    scores = simulated()
    comparison = compare(table_of(**scores))
    assert [(d.first, d.second) for d in comparison.differences] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = []
    for d in comparison.differences:
        values = scores[d.first] - scores[d.second]
        raw.append(stats.wilcoxon(values).pvalue)
        assert (d.mean, d.median) == pytest.approx((values.mean(), np.median(values)))
        known = stats.bootstrap((values,), np.mean, n_resamples=10_000, rng=np.random.default_rng(0))
        assert d.interval == pytest.approx(tuple(known.confidence_interval), abs=0.15 * known.standard_error)
        assert d.smallest_p == 2**-19
    assert [d.p for d in comparison.differences] == pytest.approx(raw)
    assert [d.p_corrected for d in comparison.differences] == pytest.approx(holm(raw))


def test_one_method_may_be_the_reference() -> None:
    comparison = compare(table_of(**simulated()), reference="b", resamples=FEW)
    assert [(d.first, d.second) for d in comparison.differences] == [("b", "a"), ("b", "c")]
    with pytest.raises(ConfigurationError, match="unknown method 'd'"):
        compare(table_of(**simulated()), reference="d")
    with pytest.raises(ConfigurationError, match="choice of intervals"):
        compare(table_of(**simulated()), level=95)


def test_identical_methods_do_not_differ() -> None:
    values = simulated()["a"]
    d = compare(table_of(one=values, other=values), resamples=FEW).differences[0]
    assert (d.mean, d.interval, d.p, d.p_corrected, d.effect) == (0, (0, 0), 1, 1, 0)
    assert d.better(0.05) is None


def test_renaming_methods_permutes_the_results() -> None:
    scores = simulated(cases=9)
    one = compare(table_of(**scores), resamples=FEW)
    other = compare(table_of(**dict(reversed(scores.items()))), resamples=FEW)
    flipped = {(d.second, d.first): d for d in other.differences}
    for d in one.differences:
        twin = flipped[d.first, d.second]
        assert (-twin.mean, -twin.effect) == pytest.approx((d.mean, d.effect))  # type: ignore[operator]
        assert twin.p_corrected == pytest.approx(d.p_corrected)
        assert (twin.second_better, twin.first_better) == (d.first_better, d.second_better)
    assert {s.method: s for s in one.statistics} == {s.method: s for s in other.statistics}
    assert one.rankings[0].mean_rank == other.rankings[0].mean_rank
    assert one.rankings[0].shares == other.rankings[0].shares


def test_lower_distances_are_better() -> None:
    near = result({f"c{i}": {"l": row(0.8, 1.0 + i / 10)} for i in range(8)})
    far = result({f"c{i}": {"l": row(0.8, 2.0 + i / 5)} for i in range(8)})
    comparison = compare(score_table({"near": near, "far": far}), resamples=FEW)
    d = next(d for d in comparison.differences if d.metric == "hd95")
    assert d.mean == pytest.approx(-1.35)
    assert (d.effect, d.first_better, d.better(0.05)) == (1, 8, "near")
    assert findings(comparison, "hd95")[0].startswith("near is better than far on l: HD95 -1.35 mm (95 % -1.")


def test_a_crash_is_shown_and_counts() -> None:
    scores = simulated()
    results = {name: dice_only(list(values)) for name, values in scores.items()}
    kept = {case: rows for case, rows in results["a"].cases.items() if case not in ("c03", "c07")}
    results["a"] = results["a"].with_(cases=kept, errors={"c03": "out of memory"})
    comparison = compare(score_table(results, metrics=["dice"]), resamples=FEW)
    assert comparison.statistics[0].filled == 2
    assert comparison.statistics[0].minimum == 0
    assert comparison.statistics[0].mean == pytest.approx(scores["a"].sum() / 20 - (scores["a"][[3, 7]].sum() / 20))
    assert exclusions(comparison) == (
        "a failed on 2 of 20 cases, which count with the worst value: c03 (out of memory), c07 (no prediction).",
    )


def test_the_sentence_names_the_better_method_from_its_own_view() -> None:
    values = np.linspace(0.7, 0.9, 12)
    steps = np.linspace(0.02, 0.042, 12)
    worse_first = compare(table_of(a=values - steps, b=values))
    d = worse_first.differences[0]
    assert d.interval is not None
    low, high = -d.interval[1], -d.interval[0]
    assert findings(worse_first) == (
        f"b is better than a on liver: Dice +0.031 (95 % {low:.3f} to {high:.3f}), p < 0.001.",
        "b ranks first of 2 on liver (mean rank 1.00 over 12 cases) and has the first place in 100 % of 10000 "
        "resamples; Kendall's tau of their orders with this one is 1.00.",
    )


def test_few_cases_are_said_to_be_too_few() -> None:
    text = findings(compare(table_of(a=[0.9, 0.8, 0.9, 0.7, 0.8], b=[0.5, 0.4, 0.3, 0.2, 0.1])))[0]
    assert text.startswith(
        "a and b cannot be told apart on liver: with 5 of 5 cases differing the test cannot give less than p = 0.0625 "
        "(a against b: Dice +0.520"
    )
    six = compare(table_of(a=[0.9, 0.8, 0.9, 0.7, 0.8, 0.9], b=[0.5, 0.4, 0.3, 0.2, 0.1, 0.4]))
    assert findings(six)[0].startswith("a is better than b")
    assert findings(six)[0].endswith("p = 0.031.")


def test_no_difference_is_not_called_one() -> None:
    generator = np.random.default_rng(0)
    values = generator.uniform(0.6, 0.9, 30)
    comparison = compare(table_of(a=values, b=values + generator.permutation(np.linspace(-0.03, 0.03, 30))))
    assert findings(comparison)[0].startswith("No difference is shown between a and b on liver: Dice ")
    same = compare(table_of(a=values, b=values), resamples=FEW)
    assert findings(same) == (
        "a and b have the same Dice on liver in all 30 cases.",
        "a and b share the first place on liver (30 cases).",
    )


def test_a_mean_that_points_the_other_way_is_named() -> None:
    better = np.full(20, 0.8) + np.linspace(0.01, 0.02, 20)
    better[0] = 0.05
    text = findings(compare(table_of(a=better, b=np.full(20, 0.8))))[0]
    assert text.startswith("a is better than b on liver: Dice -0.0")
    assert text.endswith("It is better in 19 cases and worse in 1, but its mean is worse: a few cases decide that.")


def test_an_interval_that_holds_zero_is_named() -> None:
    better = np.full(20, 0.8) + np.linspace(0.01, 0.02, 20)
    better[0] = 0.6
    comparison = compare(table_of(a=np.full(20, 0.8), b=better))
    d = comparison.differences[0]
    assert d.interval is not None
    assert d.interval[0] < 0 < d.interval[1]
    text = findings(comparison)[0]
    assert text.startswith("b is better than a on liver: Dice +0.0")
    assert text.endswith(
        "It is better in 19 cases and worse in 1, but the interval of the mean holds zero: a few cases decide that."
    )


def test_what_does_not_count_is_said() -> None:
    a = result({"x": {"t": row(0.5), "l": row()}, "y": {"t": ABSENT, "l": row()}})
    b = result({"x": {"t": MISSED, "l": row()}, "y": {"t": FALSE_ALARM, "l": row()}})
    assert exclusions(compare(score_table({"a": a, "b": b}), resamples=FEW)) == (
        "b found nothing of t in 1 of 2 cases, though the reference has it: values that do not exist there count as "
        "worst.",
        "The references of 1 of 2 cases have no t: left out for all methods. It was painted all the same by b in 1 of "
        "them.",
    )


def test_a_label_that_no_reference_has() -> None:
    one, other = result({"x": {"t": ABSENT}}), result({"x": {"t": ABSENT}})
    comparison = compare(score_table({"a": one, "b": other}))
    assert comparison.statistics[0].mean is None
    assert comparison.differences[0].p_corrected is None
    assert findings(comparison) == ("a and b cannot be compared on t: no case has a value.",)


def test_a_comparison_is_saved_whole(tmp_path: Path) -> None:
    comparison = compare(table_of(**simulated(), d=simulated()["a"]), resamples=FEW)
    comparison.save(tmp_path / "comparison.json")
    assert Comparison.load(tmp_path / "comparison.json") == comparison
    assert len(findings(comparison, label="liver")) == 7
    for wrong in ({"metric": "nsd"}, {"label": "lung"}):
        with pytest.raises(ConfigurationError, match="unknown"):
            findings(comparison, **wrong)


def test_a_single_method_is_described() -> None:
    comparison = compare(table_of(a=[0.5, 0.6]), resamples=FEW)
    assert comparison.differences == ()
    assert comparison.statistics[0].mean == pytest.approx(0.55)
    assert findings(comparison) == ()
