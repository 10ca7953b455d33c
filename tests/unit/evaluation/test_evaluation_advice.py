"""Pitfalls of metrics: each on data that shows it, none on data that does not."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
from scipy import stats

from autoseg.errors import ConfigurationError
from autoseg.evaluation.advice import Advice, advise

Scores = dict[str, float | None]


def large(**changes: float | None) -> Scores:
    """A label about which there is nothing to say."""
    return {"n_ref": 50_000, "n_pred": 50_000, "hausdorff": 3.0, "hd95": 2.0, "nsd": 0.9, "dice": 0.9, **changes}


def cases_of(*rows: Scores, label: str = "liver") -> dict[str, dict[str, Scores]]:
    return {f"c{i:02d}": {label: row} for i, row in enumerate(rows)}


def advice_of(cases: dict[str, dict[str, Scores]], name: str, spacing: tuple[float, ...] | None = None) -> Advice:
    spacings = None if spacing is None else dict.fromkeys(cases, spacing)
    return next(one for one in advise(cases, spacings=spacings) if one.name == name)


def test_nothing_is_said_where_nothing_applies() -> None:
    cases = cases_of(*[large(n_pred=50_000 + step) for step in range(-5, 5)])
    assert advise(cases, spacings=dict.fromkeys(cases, (1.0, 1.0, 1.0))) == ()
    assert advise({}) == ()


def test_small_structures_name_what_one_voxel_costs() -> None:
    sizes = (5, 50, 5000)
    found = advice_of(cases_of(*[large(n_ref=n, n_pred=n) for n in sizes]), "small-structures")

    def lost(n: int) -> float:  # Dice of a prediction that lacks one voxel
        return 1 - 2 * (n - 1) / (n + n - 1)

    assert f"2 of 3 cases have at most 100 voxels; one voxel moves Dice by {lost(50):.2g}" in found.sentence
    assert f"by up to {lost(5):.2g}" in found.sentence
    assert found.labels == ("liver",)
    assert "Reinke" in found.source


def test_an_outlying_hausdorff_distance() -> None:
    rows = [large(hausdorff=80.0)] * 2 + [large()] * 4
    found = advice_of(cases_of(*rows), "outlying-hausdorff")
    assert "more than 2 times HD95 in 2 of 6 cases (medians 3 and 2 mm)" in found.sentence
    assert advise(cases_of(*rows[1:], large(), large())) == ()  # one of seven


def test_empty_references_and_predictions_are_counted() -> None:
    absent = large(n_ref=0, n_pred=0, hausdorff=None, hd95=None, nsd=None, dice=None)
    cases = cases_of(large(), absent, absent | {"n_pred": 4}, large(n_pred=0, hausdorff=None, hd95=None, nsd=None))
    reference, prediction = advise(cases)
    assert reference.name == "empty-references"
    assert "absent from 2 of 4 references, and painted in 1 of them" in reference.sentence
    assert prediction.name == "empty-predictions"
    assert "not found in 1 of the 2 cases that have it" in prediction.sentence


def test_a_size_that_is_wrong_to_one_side() -> None:
    rows = [large(n_pred=int(50_000 * factor)) for factor in (1.1, 1.12, 1.2, 1.08, 1.15, 1.3, 1.1, 1.1, 0.98, 1.12)]
    found = advice_of(cases_of(*rows), "biased-size")
    p = stats.binomtest(9, 10).pvalue
    assert f"larger than the reference in 9 of 10 cases (median ratio of volumes 1.11, sign test p = {p:.2g})" in (
        found.sentence
    )
    smaller = [row | {"n_ref": row["n_pred"], "n_pred": row["n_ref"]} for row in rows]
    assert "liver: smaller than the reference in 9 of 10" in advice_of(cases_of(*smaller), "biased-size").sentence
    assert advise(cases_of(*rows[:5])) == ()  # five cases cannot show it
    assert advise(cases_of(*[large(n_pred=50_100)] * 20)) == ()  # certain, but two in a thousand


def test_the_size_test_is_corrected_over_labels() -> None:
    rows = [large(n_pred=60_000)] * 6  # p = 0.03 alone
    one = cases_of(*rows)
    two = {case: {**scores, "spleen": large()} for case, scores in one.items()}
    three = {case: {**scores, "spleen": scores["liver"]} for case, scores in one.items()}
    assert [found.name for found in advise(one)] == ["biased-size"]
    assert [found.name for found in advise(two)] == ["biased-size"]  # nothing to test in a spleen that is right
    assert advise(three) == ()


def test_a_structure_of_few_voxels_across() -> None:
    ball = 4 / 3 * pi * 6**3  # mm3, 12 mm wide
    cases = cases_of(*[large(n_ref=round(ball / 4), n_pred=round(ball / 4))] * 3)
    found = advice_of(cases, "coarse-resolution", (4.0, 1.0, 1.0))
    assert "only 3.0 voxels wide along the coarsest axis in the median case (12 mm, voxels of 4 mm)" in found.sentence
    disc = cases_of(*[large(n_ref=round(pi * 2**2), n_pred=round(pi * 2**2))] * 3)
    assert "only 4.1 voxels wide" in advice_of(disc, "coarse-resolution", (1.0, 1.0)).sentence


def test_the_tolerance_is_held_against_voxels_and_structures() -> None:
    cases = cases_of(large(), large())
    found = advice_of(cases, "tight-tolerance", (5.0, 1.0, 1.0))
    assert "voxels of up to 5 mm against a tolerance of 1 mm" in found.sentence
    # 50 000 voxels of 1 mm are as large as a ball 46 mm wide.
    names = [one.name for one in advise(cases, spacings=dict.fromkeys(cases, (1.0, 1.0, 1.0)), tolerance_mm=12)]
    assert names == ["generous-tolerance"]
    without = cases_of(large(nsd=None))
    assert advise(without, spacings={"c00": (5.0, 1.0, 1.0)}) == ()


def test_labels_are_named_together() -> None:
    few = large(n_ref=20, n_pred=20)
    cases = {f"c{i}": {"left": few, "right": few, "liver": large()} for i in range(3)}
    found = advice_of(cases, "small-structures")
    assert found.labels == ("left", "right")
    assert found.sentence.startswith("left: 3 of 3 cases")
    assert "; right: 3 of 3 cases" in found.sentence


def test_spacings_are_of_all_cases_or_none() -> None:
    with pytest.raises(ConfigurationError, match="c01: the spacing of a case is not known"):
        advise(cases_of(large(), large()), spacings={"c00": (1.0, 1.0, 1.0)})


def test_values_may_be_numpys() -> None:
    row = {key: None if value is None else np.float64(value) for key, value in large(n_ref=10, n_pred=10).items()}
    assert advice_of(cases_of(row), "small-structures").labels == ("liver",)


def holes(predicted: float, expected: float) -> Scores:
    return large(hole_voxels_pred=predicted, hole_voxels_ref=expected)


def test_holes_that_the_references_lack() -> None:
    found = advice_of(cases_of(*[holes(50, 0)] * 2, holes(0, 0), holes(3, 4)), "holes")
    assert "2 of 4 predictions have holes where the reference has none (median 50 voxels, 0.1 % of it)" in (
        found.sentence
    )
    filled = advice_of(cases_of(*[holes(0, 10)] * 3, holes(3, 4)), "holes")
    assert "liver: 3 of 4 predictions lack the reference's holes" in filled.sentence
    assert advise(cases_of(holes(9, 0), *[holes(0, 0)] * 19)) == ()  # one of twenty
    assert advise(cases_of(holes(3, 4), holes(5, 1))) == ()  # both have some


def test_little_overlap_of_structures_whose_centres_agree() -> None:
    cases = cases_of(*[large(dice=0.5, centroid_distance=2.0)] * 2, large(centroid_distance=2.0))
    found = advice_of(cases, "centre-alignment", (1.0, 1.0, 1.0))
    assert "Dice is below 0.7 in 2 of 3 cases" in found.sentence
    assert "(medians: Dice 0.50, centroid distance 2 mm, a ball of its volume 45.7 mm wide)" in found.sentence
    elsewhere = cases_of(*[large(dice=0.5, centroid_distance=6.0)] * 3)
    assert advise(elsewhere, spacings=dict.fromkeys(elsewhere, (1.0, 1.0, 1.0))) == ()
    assert advise(cases) == ()  # without spacing nobody knows how wide it is


def test_a_shift_to_one_side() -> None:
    rows = [large(shift_z=0.0, shift_y=0.1 * (-1) ** i, shift_x=-0.4) for i in range(10)]
    found = advice_of(cases_of(*rows), "one-sided-shift", (3.0, 0.8, 0.8))
    p = stats.binomtest(0, 10).pvalue * 2  # two axes are tested; along z nothing moves
    assert "liver: lies 0.4 mm (0.5 voxels) towards smaller x in the median case, to that side in 10 of 10" in (
        found.sentence
    )
    assert f"(sign test p = {p:.2g})" in found.sentence
    plane = cases_of(*[row | {"shift_z": None} for row in rows])
    assert advice_of(plane, "one-sided-shift", (0.8, 0.8)).labels == ("liver",)
    tiny = cases_of(*[row | {"shift_x": -0.1} for row in rows])
    assert advise(tiny, spacings=dict.fromkeys(tiny, (1.0, 0.8, 0.8))) == ()  # certain, but an eighth of a voxel
    assert advise(cases_of(*rows[:5])) == ()
