"""Splits by groups and by classes: properties over random data sets, and scikit-learn's GroupKFold."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from autoseg.data.splits import Split, SplitRule, check_rule, k_fold, make_splits, save_splits
from autoseg.errors import ConfigurationError, DatasetError

BY_PATIENT = r"p(\d+)_"


def patients(sizes: list[int]) -> list[str]:
    """Identifiers of patients with so many scans each."""
    return [f"p{patient:03d}_{scan}" for patient, size in enumerate(sizes) for scan in range(size)]


def random_sizes(seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    return rng.integers(1, 6, size=rng.integers(7, 40)).tolist()


def random_classes(ids: list[str], seed: int) -> dict[str, frozenset[str]]:
    """Classes from common to rare, drawn independently."""
    rng = np.random.default_rng(seed)
    shares = {"organ": 0.95, "lesion": 0.4, "cyst": 0.15, "rare": 0.06}
    return {case: frozenset(name for name, share in shares.items() if rng.random() < share) for case in ids}


def check_partition(splits: tuple[Split, ...], ids: list[str]) -> None:
    """Every case is validated once and is trained on in all other folds."""
    assert sorted(case for split in splits for case in split.validation) == sorted(ids)
    for split in splits:
        assert sorted((*split.train, *split.validation)) == sorted(ids)
        assert list(split.train) == sorted(split.train)
        assert split.validation


def spread(splits: tuple[Split, ...], classes: dict[str, frozenset[str]]) -> int:
    """How much the numbers of cases with a class differ between folds, added up over the classes."""
    counts = [Counter(name for case in split.validation for name in classes[case]) for split in splits]
    return sum(
        max(count[name] for count in counts) - min(count[name] for count in counts)
        for name in set().union(*classes.values())
    )


def test_the_default_is_nnunets() -> None:
    ids = patients([1] * 23)
    assert make_splits(ids, SplitRule()) == k_fold(ids)
    assert make_splits(reversed(ids), SplitRule(folds=3, seed=7)) == k_fold(ids, 3, 7)


@pytest.mark.parametrize("stratify", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_groups_are_never_on_both_sides(seed: int, stratify: bool) -> None:
    sizes = random_sizes(seed)
    ids = patients(sizes)
    classes = random_classes(ids, seed)
    splits = make_splits(ids, SplitRule(group_by=BY_PATIENT, stratify=stratify), classes)
    check_partition(splits, ids)
    for split in splits:
        assert not {case[:4] for case in split.train} & {case[:4] for case in split.validation}
    held = [len(split.validation) for split in splits]
    assert max(held) - min(held) <= (2 * max(sizes) - 1 if stratify else max(sizes))


@pytest.mark.parametrize("seed", range(8))
def test_groups_are_as_balanced_as_scikit_learns(seed: int) -> None:
    ids = patients(random_sizes(seed))
    ours = make_splits(ids, SplitRule(group_by=BY_PATIENT))
    theirs = GroupKFold(n_splits=5).split(ids, groups=[case[:4] for case in ids])
    assert sorted(len(split.validation) for split in ours) == sorted(len(held) for _, held in theirs)


def test_fewer_groups_than_folds_give_fewer_folds() -> None:
    ids = patients([4, 4, 4])
    splits = make_splits(ids, SplitRule(group_by=BY_PATIENT))
    assert len(splits) == 3
    check_partition(splits, ids)
    with pytest.raises(DatasetError, match="all cases belong to one group"):
        make_splits(patients([6]), SplitRule(group_by=BY_PATIENT))


@pytest.mark.parametrize("seed", range(6))
def test_stratified_folds_are_of_equal_size_and_more_alike_than_random_ones(seed: int) -> None:
    ids = patients([1] * (30 + 7 * seed))
    classes = random_classes(ids, seed)
    splits = make_splits(ids, SplitRule(stratify=True, seed=seed), classes)
    check_partition(splits, ids)
    assert sorted(len(split.validation) for split in splits) == sorted(len(split.validation) for split in k_fold(ids))
    by_chance = [spread(k_fold(ids, seed=other), classes) for other in range(20)]
    assert spread(splits, classes) < np.median(by_chance)
    assert spread(splits, classes) <= min(by_chance)


def test_each_fold_gets_one_of_the_few_cases_of_a_rare_class() -> None:
    ids = patients([1] * 50)
    classes = {case: frozenset({"organ", "tumour"} if i < 5 else {"organ"}) for i, case in enumerate(ids)}
    splits = make_splits(ids, SplitRule(stratify=True), classes)
    assert [sum("tumour" in classes[case] for case in split.validation) for split in splits] == [1] * 5
    assert [len(split.validation) for split in splits] == [10] * 5


def test_stratified_groups_are_more_alike_than_groups_alone() -> None:
    differences = []
    for seed in range(10):
        ids = patients(random_sizes(seed))
        classes = random_classes(ids, seed)
        rule = SplitRule(group_by=BY_PATIENT, seed=seed)
        alone = spread(make_splits(ids, rule), classes)
        differences.append(alone - spread(make_splits(ids, rule.with_(stratify=True), classes), classes))
    assert np.mean(differences) > 1


def test_splits_depend_on_the_seed_alone() -> None:
    ids = patients([2] * 20)
    classes = random_classes(ids, 0)
    for rule in (SplitRule(group_by=BY_PATIENT), SplitRule(stratify=True)):
        once = make_splits(ids, rule, classes)
        assert once == make_splits(reversed(ids), rule, dict(reversed(classes.items())))
        assert once != make_splits(ids, rule.with_(seed=1), classes)


def test_stratification_needs_the_classes_of_every_case() -> None:
    ids = patients([1] * 6)
    with pytest.raises(ConfigurationError, match="which classes occur") as caught:
        make_splits(ids, SplitRule(stratify=True), {case: frozenset() for case in ids[1:]})
    assert ids[0] in str(caught.value)


def test_cases_without_any_class_are_dealt_out_too() -> None:
    ids = patients([1] * 11)
    splits = make_splits(ids, SplitRule(stratify=True), {case: frozenset() for case in ids})
    check_partition(splits, ids)
    assert sorted(len(split.validation) for split in splits) == [2, 2, 2, 2, 3]


def test_given_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    ids = patients([1] * 6)
    given = (Split(train=tuple(ids[:4]), validation=tuple(ids[4:])),)
    save_splits(tmp_path / "splits_final.json", given)
    assert make_splits(ids, SplitRule(file=tmp_path / "splits_final.json")) == given
    with pytest.raises(DatasetError, match="lacks"):
        make_splits(ids[1:], SplitRule(file=tmp_path / "splits_final.json"))
    (tmp_path / "splits_final.json").write_text(json.dumps([{"train": ids, "val": ids[:1]}]), encoding="utf-8")
    with pytest.raises(DatasetError, match="validates on cases it trains on"):
        make_splits(ids, SplitRule(file=tmp_path / "splits_final.json"))


def test_a_rule_is_checked_before_classes_are_known(tmp_path: Path) -> None:
    check_rule(patients([2] * 6), SplitRule(group_by=BY_PATIENT, stratify=True))
    for wrong in ({"group_by": "q(.)"}, {"group_by": f"{tmp_path}/no.csv:patient"}, {"file": tmp_path / "no.json"}):
        with pytest.raises((DatasetError, ConfigurationError)):
            check_rule(patients([2] * 6), SplitRule(**wrong))


@pytest.mark.parametrize("other", [{"group_by": BY_PATIENT}, {"stratify": True}])
def test_a_file_and_a_rule_contradict_each_other(other: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        SplitRule.from_mapping({"file": "splits.json", **other})
