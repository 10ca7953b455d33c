"""Splits against nnU-Net's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoseg.data.splits import Split, k_fold, load_splits, save_splits, validate_splits
from autoseg.errors import ConfigurationError, DatasetError

IDS = [f"case_{number:03d}" for number in range(23)]

# nnunetv2 2.8.1, utilities.crossval_split.generate_crossval_split(IDS): validation cases of the five folds.
NNUNET_FOLDS = [[3, 8, 10, 17, 19], [0, 7, 12, 15, 16], [6, 11, 14, 18, 20], [9, 13, 21, 22], [1, 2, 4, 5]]


def test_folds_equal_nnunets() -> None:
    splits = k_fold(reversed(IDS))
    assert [list(split.validation) for split in splits] == [[IDS[i] for i in fold] for fold in NNUNET_FOLDS]
    assert all(set(split.train) | set(split.validation) == set(IDS) for split in splits)


def test_other_seeds_give_other_folds() -> None:
    assert k_fold(IDS, seed=1) != k_fold(IDS)


def test_few_cases_are_left_out_one_at_a_time() -> None:
    splits = k_fold(["a", "b", "c"])
    assert sorted(split.validation for split in splits) == [("a",), ("b",), ("c",)]


@pytest.mark.parametrize(("ids", "folds"), [([], 5), (["a"], 5), (["a", "b"], 1)])
def test_impossible_folds_are_refused(ids: list[str], folds: int) -> None:
    with pytest.raises(DatasetError, match="cross-validation is not possible"):
        k_fold(ids, folds)


def test_identifier_twice_is_refused() -> None:
    with pytest.raises(DatasetError, match="occurs twice"):
        k_fold(["a", "b", "a"])


def test_saved_in_nnunets_form_and_read_again(tmp_path: Path) -> None:
    splits = k_fold(IDS)
    save_splits(tmp_path / "splits.json", splits)
    written = json.loads((tmp_path / "splits.json").read_text(encoding="utf-8"))
    assert [set(entry) for entry in written] == [{"train", "val"}] * 5
    assert load_splits(tmp_path / "splits.json", IDS) == splits


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        (("a", "b"), ("b",), "validates on cases it trains on"),
        (("a",), ("z",), "names cases that the data set lacks"),
        ((), ("a",), "has an empty side"),
        (("a",), (), "has an empty side"),
    ],
)
def test_dishonest_splits_are_refused(train: tuple[str, ...], validation: tuple[str, ...], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        validate_splits([Split(train=train, validation=validation)], ["a", "b"])


def test_splits_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_splits(path, IDS)
    path.write_text('[{"train": ["a"], "val": ["b"],}]', encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"column 32: is not valid JSON: a comma after the last"):
        load_splits(path, IDS)
    for wrong in ('[{"train": ["a"]}]', "3", '["a"]'):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(DatasetError, match="not understood"):
            load_splits(path, IDS)
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(DatasetError, match="no folds"):
        load_splits(path, IDS)
