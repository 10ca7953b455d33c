"""Cross-validation splits: made by a rule (nnU-Net's unless another is given), saved and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from autoseg.data.grouping import group_cases
from autoseg.data.stratify import deal, deal_stratified
from autoseg.documents import read_json
from autoseg.errors import ConfigurationError, DatasetError
from autoseg.log import counted
from autoseg.records import Record, write_json

__all__ = [
    "SEED",
    "Split",
    "SplitRule",
    "check_rule",
    "k_fold",
    "load_splits",
    "make_splits",
    "save_splits",
    "validate_splits",
]

SEED = 12345
"""nnU-Net's seed, so that folds are comparable with its published results."""


class Split(Record):
    """One fold: identifiers of the cases to train on and to validate on, each sorted."""

    train: tuple[str, ...]
    validation: tuple[str, ...]


class SplitRule(Record):
    """How cases are divided into folds. The default is nnU-Net's way.

    Attributes:
        folds: number of folds; fewer where there are fewer cases or groups.
        seed: of the shuffling.
        file: splits to use as they are, a file of the form of nnU-Net's splits_final.json, instead of making them.
        group_by: what cases of one group (a patient, say) have in common, so that no group is on both sides: a
            regular expression with one group over identifiers, or FILE.csv:COLUMN.
        stratify: folds that are alike in which classes occur in how many cases.
    """

    folds: int = Field(default=5, ge=2)
    seed: int = Field(default=SEED, ge=0, lt=2**32)
    file: Path | None = None
    group_by: str | None = None
    stratify: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.file is not None and (self.group_by is not None or self.stratify):
            raise ValueError("splits are read from a file or made by groups and classes, not both")
        return self


def make_splits(
    identifiers: Iterable[str], rule: SplitRule, classes: Mapping[str, Set[str]] | None = None
) -> tuple[Split, ...]:
    """The splits that a rule asks for. Made ones validate every case exactly once.

    Args:
        identifiers: of the training cases.
        rule: the default gives nnU-Net's splits.
        classes: case -> names of the classes that occur in it (`Fingerprint.classes`); asked for by `rule.stratify`.

    Raises:
        DatasetError: as `k_fold`, `load_splits` and `group_cases`; or all cases are of one group.
        ConfigurationError: a wrong `group_by`, or no classes for a case that is to be stratified.
    """
    cases = sorted(identifiers)
    if rule.file is not None:
        return load_splits(rule.file, cases)
    plain = k_fold(cases, rule.folds, rule.seed)
    if rule.group_by is None and not rule.stratify:
        return plain
    groups = {case: case for case in cases} if rule.group_by is None else group_cases(cases, rule.group_by)
    folds = min(rule.folds, len(set(groups.values())))
    if folds < 2:
        raise DatasetError(
            "all cases belong to one group, so that none is left to validate on",
            where=f"--group-by {rule.group_by}",
            got=f"{counted(len(cases), 'case')} of the group {groups[cases[0]]!r}",
            expected="at least two groups",
            remedy="group by something that differs between cases",
        )
    if rule.stratify:
        if unknown := [case for case in cases if case not in (classes or {})]:
            raise ConfigurationError(
                "splits cannot be stratified without knowing which classes occur in each case",
                got=f"no classes of {_some(unknown)}",
                remedy="measure the data set first: autoseg fingerprint",
            )
        chosen = deal_stratified(groups, classes or {}, folds, rule.seed)
    else:
        chosen = deal(groups, folds, rule.seed)
    return tuple(
        Split(
            train=tuple(case for case in cases if chosen[case] != fold),
            validation=tuple(case for case in cases if chosen[case] == fold),
        )
        for fold in range(folds)
    )


def check_rule(identifiers: Iterable[str], rule: SplitRule) -> None:
    """Refuses, before any case is read, a rule that these cases cannot be split by: its file, pattern or table.

    Raises:
        DatasetError, ConfigurationError: as `make_splits`.
    """
    make_splits(identifiers, rule.with_(stratify=False))


def k_fold(identifiers: Iterable[str], folds: int = 5, seed: int = SEED) -> tuple[Split, ...]:
    """Shuffled k-fold splits over the sorted identifiers, equal to nnU-Net's.

    With fewer cases than folds every fold leaves one case out.

    Raises:
        DatasetError: fewer than 2 cases, fewer than 2 folds, or an identifier twice.
    """
    cases = sorted(identifiers)
    if len(cases) < 2 or folds < 2:
        raise DatasetError(
            "cross-validation is not possible",
            got=f"{counted(len(cases), 'training case')}, {counted(folds, 'fold')}",
            expected="at least 2 of each",
            remedy="add labelled cases",
        )
    if len(set(cases)) < len(cases):
        twice = sorted({case for case in cases if cases.count(case) > 1})
        raise DatasetError("an identifier occurs twice", got=", ".join(twice), remedy="rename one of the cases")
    # scikit-learn's KFold(shuffle=True) in two lines: importing it would double the time of `autoseg fingerprint`.
    order = np.random.RandomState(seed).permutation(len(cases))
    return tuple(
        Split(
            train=tuple(cases[i] for i in sorted(set(order.tolist()) - set(part.tolist()))),
            validation=tuple(cases[i] for i in sorted(part.tolist())),
        )
        for part in np.array_split(order, min(folds, len(cases)))
    )


def save_splits(path: str | Path, splits: Sequence[Split]) -> None:
    """Writes splits in the form of nnU-Net's splits_final.json: a list of {"train": [...], "val": [...]}."""
    write_json(path, [{"train": list(split.train), "val": list(split.validation)} for split in splits])


def load_splits(path: str | Path, identifiers: Iterable[str]) -> tuple[Split, ...]:
    """Reads splits, also nnU-Net's own, and checks them against the data set.

    Raises:
        ConfigurationError: no such file, or it is no JSON.
        DatasetError: another form, or what `validate_splits` refuses.
    """
    path = Path(path)
    entries = read_json(path)
    try:
        splits = tuple(Split(train=tuple(entry["train"]), validation=tuple(entry["val"])) for entry in entries)
    except (ValueError, TypeError, KeyError):
        raise DatasetError(
            "the splits are not understood", where=path, expected='[{"train": [ids], "val": [ids]}, ...]'
        ) from None
    validate_splits(splits, identifiers, where=path)
    return splits


def validate_splits(splits: Sequence[Split], identifiers: Iterable[str], *, where: object = None) -> None:
    """Refuses splits that cannot be trained on honestly.

    Raises:
        DatasetError: no folds, an empty side, identifiers that the data set lacks, or a case on both sides.
    """
    if not splits:
        raise DatasetError("there are no folds", where=where, expected="at least one fold")
    cases = set(identifiers)
    for number, split in enumerate(splits):
        train, validation = set(split.train), set(split.validation)
        if not train or not validation:
            raise DatasetError(
                f"fold {number} has an empty side",
                where=where,
                got=f"{counted(len(train), 'training case')} and {counted(len(validation), 'validation case')}",
                expected="at least one of each",
            )
        if strangers := sorted((train | validation) - cases):
            raise DatasetError(
                f"fold {number} names cases that the data set lacks",
                where=where,
                got=_some(strangers),
                expected=f"identifiers such as {_some(sorted(cases))}",
                remedy="use the splits of this data set",
            )
        if both := sorted(train & validation):
            raise DatasetError(
                f"fold {number} validates on cases it trains on",
                where=where,
                got=_some(both),
                expected="every case on one side",
                remedy="take them out of one side",
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f", ... ({len(names)})" if len(names) > 5 else "")
