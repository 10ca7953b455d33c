"""Splits of any cases, groups and classes: everything is validated once, and nothing on both sides."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, KFold

from autoseg.data.splits import Split, SplitRule, k_fold, load_splits, make_splits, save_splits

SEEDS = st.integers(0, 2**32 - 1)
FOLDS = st.integers(2, 7)
CASES = st.sets(st.text("abc019_é", min_size=1, max_size=5), min_size=2, max_size=24).map(sorted)
PATIENT = r"^(p\d+)_"


def scans(numbers: Sequence[int]) -> list[str]:
    """Cases of patients: as many of each as the numbers say."""
    return [f"p{patient}_{scan}" for patient, count in enumerate(numbers) for scan in range(count)]


SCANS = st.lists(st.integers(1, 4), min_size=2, max_size=12).map(scans)


def patient(case: str) -> str:
    return case.split("_", maxsplit=1)[0]


def some_classes(cases: Sequence[str], seed: int) -> dict[str, frozenset[str]]:
    """Classes of each case, from common to rare; perhaps none."""
    draw = random.Random(seed)
    shares = {"x": 0.8, "y": 0.4, "z": 0.1}
    return {case: frozenset(name for name, share in shares.items() if draw.random() < share) for case in cases}


def parts_of(splits: Sequence[Split], cases: Sequence[str]) -> list[int]:
    """Checks that the validation sides are a partition and the training sides the rest; gives the former's sizes."""
    assert sorted(case for split in splits for case in split.validation) == sorted(cases)
    for split in splits:
        assert split.validation
        assert set(split.train) == set(cases) - set(split.validation)
        assert [list(split.train), list(split.validation)] == [sorted(split.train), sorted(split.validation)]
    return [len(split.validation) for split in splits]


@given(CASES, FOLDS, SEEDS)
def test_plain_folds_are_scikit_learns(cases: list[str], folds: int, seed: int) -> None:
    splits = k_fold(cases, folds, seed)
    sizes = parts_of(splits, cases)
    assert max(sizes) - min(sizes) <= 1
    rule = KFold(min(folds, len(cases)), shuffle=True, random_state=seed)
    expected = [tuple(cases[place] for place in validation) for _, validation in rule.split(cases)]
    assert [split.validation for split in splits] == expected


@given(SCANS, FOLDS, SEEDS)
def test_scans_of_a_patient_stay_together_in_folds_as_large_as_scikit_learns(
    cases: list[str], folds: int, seed: int
) -> None:
    splits = make_splits(cases, SplitRule(folds=folds, seed=seed, group_by=PATIENT))
    sizes = parts_of(splits, cases)
    for split in splits:
        assert not set(map(patient, split.train)) & set(map(patient, split.validation))
    groups = list(map(patient, cases))
    expected = GroupKFold(min(folds, len(set(groups)))).split(cases, groups=groups)
    assert sorted(sizes) == sorted(len(validation) for _, validation in expected)


@given(st.lists(st.sampled_from("xyz"), min_size=2, max_size=24), FOLDS, SEEDS)
def test_each_fold_has_its_share_of_every_class(kinds: list[str], folds: int, seed: int) -> None:
    cases = {f"case_{number:02d}": frozenset({kind}) for number, kind in enumerate(kinds)}
    splits = make_splits(cases, SplitRule(folds=folds, seed=seed, stratify=True), cases)
    sizes = parts_of(splits, list(cases))
    assert max(sizes) - min(sizes) <= 1
    for kind, total in Counter(kinds).items():
        for split in splits:
            held = sum(kind in cases[case] for case in split.validation)
            assert math.floor(total / len(splits)) <= held <= math.ceil(total / len(splits))


@given(SCANS, FOLDS, SEEDS)
@example(scans([4, 1, 1, 1]), 4, 0)  # as many folds as patients: the large one fills more than one
def test_stratified_scans_of_a_patient_stay_together(cases: list[str], folds: int, seed: int) -> None:
    classes = some_classes(cases, seed)
    splits = make_splits(cases, SplitRule(folds=folds, seed=seed, group_by=PATIENT, stratify=True), classes)
    parts_of(splits, cases)
    for split in splits:
        assert not set(map(patient, split.train)) & set(map(patient, split.validation))


@given(SCANS, FOLDS, SEEDS, st.booleans(), st.booleans())
def test_the_order_of_cases_has_no_influence(
    cases: list[str], folds: int, seed: int, grouped: bool, stratified: bool
) -> None:
    rule = SplitRule(folds=folds, seed=seed, group_by=PATIENT if grouped else None, stratify=stratified)
    classes = some_classes(cases, seed)
    splits = make_splits(cases, rule, classes)
    random.Random(seed).shuffle(cases)
    assert make_splits(cases, rule, {case: classes[case] for case in cases}) == splits


@given(CASES, FOLDS, SEEDS)
def test_saved_splits_are_read_again(tmp_path: Path, cases: list[str], folds: int, seed: int) -> None:
    path = tmp_path / "splits.json"
    splits = k_fold(cases, folds, seed)
    save_splits(path, splits)
    random.Random(seed).shuffle(cases)
    assert load_splits(path, cases) == splits
    assert make_splits(cases, SplitRule(file=path)) == splits
