"""Agreement of raters: kappa against its definition, pairs against direct counts, and the consensus of votes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.errors import ConfigurationError
from autoseg.studies.raters.agreement import agree, fleiss_kappa, summarise_raters
from autoseg.studies.raters.consensus import majority, shares, staple

SPACING = (2.0, 1.0, 1.0)
FOREGROUND = {"organ": (1,), "tumour": (2,), "whole": (1, 2)}


def drawn(seed: int, raters: int = 4, shape: tuple[int, ...] = (6, 9, 8)) -> list[np.ndarray]:
    """An organ with a tumour, and raters who each change a tenth of the voxels around it."""
    generator = np.random.default_rng(seed)
    truth = np.zeros(shape, np.int16)
    truth[1:5, 2:7, 2:7] = 1
    truth[2:4, 3:6, 3:5] = 2
    votes = []
    for _ in range(raters):
        changed = (generator.random(shape) < 0.1) & (np.roll(truth, 1, 2) > 0)
        votes.append(np.where(changed, generator.integers(0, 3, shape), truth).astype(np.int16))
    return votes


def kappa_by_definition(votes: list[np.ndarray]) -> float:
    """Fleiss 1971, voxel by voxel."""
    ratings = np.stack([array.ravel() for array in votes], axis=1)
    subjects, raters = ratings.shape
    counts = np.array([[int((row == value).sum()) for value in range(3)] for row in ratings])
    within = ((counts**2).sum(axis=1) - raters) / (raters * (raters - 1))
    chance = float(((counts.sum(axis=0) / (subjects * raters)) ** 2).sum())
    return float((within.mean() - chance) / (1 - chance))


@pytest.mark.parametrize("raters", [2, 3, 5])
def test_kappa_is_the_one_of_its_definition(raters: int) -> None:
    votes = drawn(raters, raters)
    assert fleiss_kappa(votes) == pytest.approx(kappa_by_definition(votes))
    counted = np.random.default_rng(1).random(votes[0].shape) < 0.5
    assert fleiss_kappa(votes, counted) == pytest.approx(kappa_by_definition([array[counted] for array in votes]))


def test_kappa_of_the_worked_example_of_the_paper_by_hand() -> None:
    """Two raters, ten voxels, eight equal: observed 0.8, both use the category in half, expected 0.5."""
    one, other = np.array([1] * 5 + [0] * 5), np.array([1, 1, 1, 1, 0, 1, 0, 0, 0, 0])
    assert fleiss_kappa([one, other]) == pytest.approx((0.8 - 0.5) / 0.5)
    assert fleiss_kappa([one, one]) == 1
    assert fleiss_kappa([one, 1 - one]) == -1


def test_kappa_of_nothing_does_not_exist() -> None:
    nothing = np.zeros((3, 3), np.int16)
    assert fleiss_kappa([nothing, nothing]) is None
    assert fleiss_kappa([nothing, nothing + 1], np.zeros((3, 3), bool)) is None


def test_pairs_and_others_are_those_of_direct_counts() -> None:
    votes = dict(zip("abcd", drawn(7), strict=True))
    found = agree(votes, FOREGROUND, SPACING, dimension=3)
    assert [pair.raters for pair in found.pairs] == list(combinations("abcd", 2))

    def dice(one: np.ndarray, other: np.ndarray) -> float:
        return float(2 * (one & other).sum() / (one.sum() + other.sum()))

    for pair in found.pairs:
        one, other = (votes[name] for name in pair.raters)
        for label, values in FOREGROUND.items():
            assert pair.scores[label]["dice"] == pytest.approx(dice(np.isin(one, values), np.isin(other, values)))
            assert pair.scores[label]["hd95"] is not None
    rest = np.stack([votes[name] for name in "bcd"])
    most = np.argmax([(rest == value).sum(axis=0) for value in range(3)], axis=0)
    assert found.others["a"]["organ"]["dice"] == pytest.approx(dice(votes["a"] == 1, most == 1))
    drawn_by_any = np.any([array > 0 for array in votes.values()], axis=0)
    box = tuple(slice(place.min(), place.max() + 1) for place in np.nonzero(drawn_by_any))
    assert found.kappa_of_all == pytest.approx(kappa_by_definition([array[box] for array in votes.values()]))
    tumours = [(array[box] == 2).astype(int) for array in votes.values()]
    assert found.kappa["tumour"] == pytest.approx(kappa_by_definition(tumours))


def test_the_order_of_raters_and_empty_borders_do_not_matter() -> None:
    one, other = drawn(3, 2)
    found = agree({"a": one, "b": other}, FOREGROUND, SPACING, dimension=3)
    wide = [np.pad(array, 4) for array in (other, one)]
    again = agree({"b": wide[0], "a": wide[1]}, FOREGROUND, SPACING, dimension=3)
    assert again.pairs[0].scores == found.pairs[0].scores
    assert again.kappa == pytest.approx(found.kappa)
    assert found.others == {}


def test_what_any_rater_left_out_counts_nowhere() -> None:
    votes = drawn(5, 3)
    cut = {name: array[:, :5] for name, array in zip("abc", votes, strict=True)}
    votes[1][:, 5:] = 3
    found = agree(dict(zip("abc", votes, strict=True)), FOREGROUND, SPACING, dimension=3, ignore=3)
    expected = agree(cut, FOREGROUND, SPACING, dimension=3)
    assert [pair.scores["organ"]["dice"] for pair in found.pairs] == [
        pair.scores["organ"]["dice"] for pair in expected.pairs
    ]
    assert found.kappa == expected.kappa


def test_a_case_that_nobody_drew_on() -> None:
    empty = np.zeros((4, 5, 5), np.int16)
    found = agree({"a": empty, "b": empty}, {"organ": (1,)}, SPACING, dimension=3)
    assert found.pairs[0].scores == {"organ": {"dice": None, "hd95": None}}
    assert (found.kappa, found.kappa_of_all, found.tied_voxels) == ({"organ": None}, None, 0)


def test_the_majority_takes_the_smallest_of_tied_values_and_counts_them() -> None:
    votes = [np.array([row]) for row in ([[2, 0, 1, 1, 0]], [[2, 1, 2, 1, 0]], [[1, 0, 2, 2, 0]], [[0, 1, 1, 0, 0]])]
    fused, tied = majority(votes, 3)
    assert fused.tolist() == [[[2, 0, 1, 1, 0]]]
    assert tied == 2
    assert majority(votes[:1], 3)[1] == 0
    assert majority(votes[:2], 3) == (pytest.approx(np.array([[[2, 0, 1, 1, 0]]])), 2)


def test_shares_are_means_over_raters() -> None:
    votes = drawn(2, 3)
    soft = shares(votes, FOREGROUND)
    assert (soft.dtype, soft.shape) == (np.float32, (3, *votes[0].shape))
    assert soft[1] == pytest.approx(np.mean([array == 2 for array in votes], axis=0))
    assert soft[2] == pytest.approx(soft[0] + soft[1])


def test_staple_of_one_label_is_the_one_of_the_filter_for_two_classes() -> None:
    votes = [np.minimum(array, 1) for array in drawn(9, 5)]
    drawn_by_any = np.any(votes, axis=0)
    box = tuple(slice(place.min(), place.max() + 1) for place in np.nonzero(drawn_by_any))
    images = [sitk.GetImageFromArray(array[box].astype(np.uint8)) for array in votes]
    probability = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    clear = np.abs(probability - 0.5) > 0.3
    assert clear.mean() > 0.95
    assert (staple(votes, 2)[box] == 1)[clear].tolist() == (probability > 0.5)[clear].tolist()


def test_staple_trusts_those_who_agree() -> None:
    votes = drawn(4, 3)
    careless = np.zeros_like(votes[0])
    fused = staple([*votes, careless], 3)
    assert (fused == majority(votes, 3)[0]).mean() > 0.98
    assert not staple([careless, careless], 3).any()
    with pytest.raises(ConfigurationError, match="STAPLE needs several arrays"):
        staple(votes[:1], 3)


def test_cases_are_put_together() -> None:
    cases = {
        "x": agree(dict(zip("abc", drawn(1, 3), strict=True)), FOREGROUND, SPACING, dimension=3),
        "y": agree(dict(zip("ac", drawn(2, 2), strict=True)), FOREGROUND, SPACING, dimension=3),
    }
    found = summarise_raters(cases, {"a": "A", "b": "B", "c": "C"}, missing={"b": ["y"], "a": []}, errors={})
    assert found.missing == {"b": ("y",)}
    by_pair = {pair.raters: pair.labels["organ"]["dice"] for pair in found.pairs}
    assert {pair: one.cases for pair, one in by_pair.items()} == {("a", "b"): 1, ("a", "c"): 2, ("b", "c"): 1}
    both = [pair.scores["organ"]["dice"] for case in cases.values() for pair in case.pairs if pair.raters == ("a", "c")]
    assert by_pair["a", "c"].mean == pytest.approx(np.mean([value for value in both if value is not None]))
    means = [
        np.mean([value for pair in case.pairs if (value := pair.scores["organ"]["dice"]) is not None])
        for case in cases.values()
    ]
    human = found.human["organ"]
    assert (human.dice, human.cases) == (pytest.approx(np.mean(means)), 2)
    assert human.interval is not None
    assert min(means) <= human.interval[0] <= human.interval[1] <= max(means)
    assert found.kappa_of_all.cases == 2
    assert list(found.others) == ["a", "b", "c"]
