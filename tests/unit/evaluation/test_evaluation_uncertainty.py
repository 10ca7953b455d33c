"""Reliability of expected Dice: against SciPy, scikit-learn and simulations whose truth is known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression

from autoseg.evaluation.uncertainty import (
    fit_calibration,
    rank_correlation,
    summarise_uncertainty,
    uncertainty_cases,
)
from autoseg.inference.estimate import (
    CaseEstimates,
    Reliability,
    calibrated,
    judgement,
    reliability_of,
    write_estimates,
)
from autoseg.workspace import Run


def simulated(count: int, *, noise: float = 0.02, folds: int = 5, seed: int = 0, shuffled: bool = False) -> dict:
    """Cases of two labels whose true Dice is a bent line of the expected one with noise."""
    generator = np.random.default_rng(seed)
    expected = generator.uniform(0.6, 0.98, (count, 2))
    dice = np.clip(expected**2 + generator.normal(0, noise, (count, 2)), 0, 1)
    if shuffled:
        dice = generator.permutation(dice)
    return {
        f"case_{i:03d}": (str(i % folds), {name: (expected[i, j], dice[i, j]) for j, name in enumerate("ab")})
        for i in range(count)
    }


def reliability(cases: dict, *configurations: str) -> Reliability:
    found = summarise_uncertainty(cases, configurations=configurations)
    json.dumps(found.model_dump(mode="json"), allow_nan=False)
    return found


def test_correlation_is_scipys() -> None:
    generator = np.random.default_rng(0)
    one = generator.normal(size=40)
    other = np.round(one + generator.normal(size=40), 1)  # with ties
    correlation, interval = rank_correlation(one, other)
    assert correlation == pytest.approx(spearmanr(one, other).statistic)
    assert interval is not None
    assert interval[0] < correlation < interval[1]
    assert rank_correlation(one, other)[1] == interval  # the same numbers whenever it is asked


def test_interval_is_that_of_resampling_cases_one_by_one() -> None:
    generator = np.random.default_rng(1)
    one = np.round(generator.normal(size=50), 1)  # with ties, and more of them in resamples
    other = one + generator.normal(size=50)
    chosen = generator.integers(50, size=(1000, 50))
    values = [spearmanr(one[index], other[index]).statistic for index in chosen]
    assert rank_correlation(one, other)[1] == pytest.approx(np.percentile(values, (2.5, 97.5)), abs=0.04)


def test_interval_covers_a_known_correlation() -> None:
    """For a bivariate normal, Spearman's correlation is 6 / pi asin(r / 2) (Pearson 1907)."""
    r, covered, repeats = 0.7, 0, 60
    known = 6 / math.pi * math.asin(r / 2)
    for seed in range(repeats):
        one, other = np.random.default_rng(seed).multivariate_normal((0, 0), ((1, r), (r, 1)), 60).T
        _, interval = rank_correlation(one, other)
        assert interval is not None
        covered += interval[0] <= known <= interval[1]
    assert covered >= 0.85 * repeats  # 95 percent is meant; fewer than 51 of 60 would come by chance once in 5000


def test_shuffled_truth_gives_an_interval_around_zero() -> None:
    found = reliability(simulated(120, shuffled=True))
    for one in (*found.labels.values(), found.foreground):
        assert one.interval is not None
        assert one.interval[0] < 0 < one.interval[1]
        assert one.error is not None
        assert one.error_of_mean is not None
        assert one.error > 0.9 * one.error_of_mean  # an estimate is then no better than the mean


def test_degenerate_values_have_no_correlation() -> None:
    rising = np.arange(4.0)
    assert rank_correlation(rising, rising) == (None, None)
    assert rank_correlation(np.ones(30), np.arange(30.0)) == (None, None)
    # one case apart: a third of the resamples misses it, the others have a correlation
    assert rank_correlation(np.r_[np.ones(29), 0.0], np.r_[np.ones(29), 0.0])[1] == pytest.approx((1, 1))


def test_calibration_is_exact_without_noise_and_never_falls() -> None:
    places = np.sort(np.random.default_rng(0).uniform(0.2, 1, 50))
    exact = fit_calibration(places, places**3)
    assert [exact.at(x) for x in places] == pytest.approx(places**3)
    assert exact.at(0.0) == pytest.approx(places[0] ** 3)
    noisy = fit_calibration(places, np.clip(places + np.random.default_rng(1).normal(0, 0.3, 50), -0.5, 1.5))
    curve = [noisy.at(x) for x in np.linspace(0, 1.2, 200)]
    assert (np.diff(curve) >= 0).all()
    assert min(curve) >= 0
    assert max(curve) <= 1


def test_calibration_is_scikit_learns_with_ties_and_fewer_knots() -> None:
    generator = np.random.default_rng(3)
    expected = np.round(generator.uniform(0, 1, 200), 2)
    dice = np.clip(expected + generator.normal(0, 0.2, 200), 0, 1)
    found, places = fit_calibration(expected, dice), np.linspace(0, 1, 77)
    reference = IsotonicRegression(out_of_bounds="clip").fit(expected, dice)
    assert [found.at(x) for x in places] == pytest.approx(reference.predict(places))
    assert len(found.expected) < 60
    assert fit_calibration(np.array([0.5]), np.array([0.7])).at(0.1) == pytest.approx(0.7)


def test_a_good_estimate_is_told_from_guessing() -> None:
    found = reliability(simulated(150))
    for one in (*found.labels.values(), found.foreground):
        assert one.correlation is not None
        assert one.correlation > 0.95
        assert one.error is not None
        assert one.error_of_mean is not None
        assert one.error < 0.04 < 0.09 < one.error_of_mean


def test_a_tenth_of_the_validation_cases_is_flagged() -> None:
    for count, tenth in ((20, 2), (52, 6), (150, 15)):
        cases = simulated(count)
        found = reliability(cases)
        estimates = [calibrated(found, {n: pair[0] for n, pair in pairs.items()}) for _, pairs in cases.values()]
        assert sum(bool(one.flagged) for one in estimates) == tenth
        assert all(one.flagged == any(label.flagged for label in one.labels.values()) for one in estimates)


def test_flags_find_the_worst_cases_where_they_can_be_known() -> None:
    good, blind = reliability(simulated(200)), reliability(simulated(200, shuffled=True))
    assert good.check is not None
    assert blind.check is not None
    assert len(good.check.worst) == 20
    assert good.check.found >= 14
    assert blind.check.found <= 6  # by chance 2


def test_errors_and_flags_come_from_other_folds() -> None:
    """A fold whose true Dice has nothing to do with the other folds' cannot be estimated from them."""
    cases = {f"a{i}": ("0", {"x": (0.5 + i / 100, 0.9)}) for i in range(20)}
    cases |= {f"b{i}": ("1", {"x": (0.5 + i / 100, 0.1)}) for i in range(20)}
    found = reliability(cases).labels["x"]
    assert found.error == pytest.approx(0.8)
    one_fold = {case: ("0", pairs) for case, (_, pairs) in simulated(60).items()}
    assert reliability(one_fold).foreground.error == pytest.approx(0.02, abs=0.015)


def test_the_worst_are_named_worst_first() -> None:
    cases = {f"c{i:02d}": ("0", {"x": (0.6 + 0.01 * i, 0.5 + 0.01 * i)}) for i in range(25)}
    check = reliability(cases).check
    assert check is not None
    assert check.worst == ("c00", "c01", "c02")


def test_few_cases_give_what_few_cases_can() -> None:
    assert reliability({}).cases == 0
    four = reliability(simulated(4)).labels["a"]
    assert (four.cases, four.correlation, four.interval, four.calibration, four.error) == (4, None, None, None, None)
    seven = reliability(simulated(7, folds=1))
    assert seven.labels["a"].calibration is not None
    assert seven.labels["a"].threshold is None
    assert seven.check is None


def test_values_that_do_not_exist_are_counted() -> None:
    cases = simulated(30)
    cases["case_000"] = ("0", {"a": (None, 0.0), "b": (0.9, None)})
    found = reliability(cases)
    assert (found.labels["a"].cases, found.labels["a"].unseen, found.labels["a"].always_found) == (29, 1, False)
    assert (found.labels["b"].cases, found.labels["b"].unseen, found.labels["b"].always_found) == (29, 0, True)


def test_an_organ_that_is_always_there_and_now_missing_is_flagged() -> None:
    found = reliability(simulated(30))
    case = calibrated(found, {"a": None, "b": 0.95})
    assert case.flagged
    assert (case.labels["a"].flagged, case.labels["a"].estimate) == (True, None)
    assert case.labels["b"].flagged is False
    assert case.foreground.expected_dice == 0.95


def test_without_validation_nothing_is_claimed() -> None:
    case = calibrated(None, {"a": 0.4})
    assert case.flagged is None
    assert (case.labels["a"].expected_dice, case.labels["a"].estimate) == (0.4, None)
    other = calibrated(reliability(simulated(30)), {"unknown": 0.1})
    assert other.flagged is None


def test_estimates_are_written_and_read(tmp_path: Path) -> None:
    case = calibrated(reliability(simulated(30)), {"a": 0.7, "b": None})
    write_estimates(tmp_path / "uncertainty.json", {"z": case, "y": case})
    found = CaseEstimates.load(tmp_path / "uncertainty.json")
    assert list(found.cases) == ["y", "z"]
    assert found.cases["z"] == case
    assert found.judgement is None
    write_estimates(tmp_path / "uncertainty.json", {"z": case}, reliability(simulated(30)))
    assert "good from bad cases well (rank" in (CaseEstimates.load(tmp_path / "uncertainty.json").judgement or "")


@pytest.mark.parametrize(
    ("interval", "words"),
    [((0.51, 0.8), "tells good from bad cases well"), ((0.3, 0.9), "somewhat"), ((-0.1, 0.9), "do not rely on it")],
)
def test_words_follow_the_lower_end_of_the_interval(interval: tuple[float, float], words: str) -> None:
    one = reliability(simulated(30)).foreground.with_(interval=interval, correlation=0.7)
    assert words in judgement(one)
    assert "rank correlation 0.70" in judgement(one)
    assert judgement(one.with_(interval=None)).startswith("cannot be judged")


def test_reliability_belongs_to_its_model(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert reliability_of(run, ("2d",)) is None
    made = summarise_uncertainty(simulated(30), configurations=("2d", "3d_fullres"))
    run.summary.write_text(json.dumps({"best": {}, "uncertainty": made.model_dump(mode="json")}), encoding="utf-8")
    found = reliability_of(run, ("3d_fullres", "2d"))
    assert found is not None
    assert found.cases == 30
    assert reliability_of(run, ("2d",)) is None


def write_fold(folder: Path, cases: dict[str, tuple[float | None, float | None]]) -> None:
    folder.mkdir(parents=True)
    expected = {case: {"x": pair[0]} for case, pair in cases.items()}
    scores = {case: {"x": {"dice": pair[1]}} for case, pair in cases.items()}
    (folder / "expected_dice.json").write_text(json.dumps(expected), encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps({"cases": scores}), encoding="utf-8")


def test_cases_are_read_from_folds_and_ensembles(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_fold(run.fold("2d", 0).validation, {"p": (0.8, 0.7)})
    write_fold(run.fold("2d", 1).validation, {"q": (0.6, None)})
    write_fold(run.fold("3d", 0).validation, {"p": (0.9, 0.8)})
    run.fold("3d", 0).expected_dice.unlink()
    write_fold(run.ensemble(("2d", "3d")).validation, {"p": (0.85, 0.75), "q": (0.5, 0.4)})
    assert uncertainty_cases(run, ["2d"]) == {"p": ("0", {"x": (0.8, 0.7)}), "q": ("1", {"x": (0.6, None)})}
    assert uncertainty_cases(run, ["3d"]) == {}
    assert uncertainty_cases(run, ["2d", "3d"]) == {"p": ("0", {"x": (0.85, 0.75)}), "q": ("1", {"x": (0.5, 0.4)})}
