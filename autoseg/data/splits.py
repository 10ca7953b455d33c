"""Cross-validation splits: nnU-Net's, made, saved and read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from autoseg.errors import DatasetError
from autoseg.records import Record, write_json

SEED = 12345
"""nnU-Net's seed, so that folds are comparable with its published results."""


class Split(Record):
    """One fold: identifiers of the cases to train on and to validate on, each sorted."""

    train: tuple[str, ...]
    validation: tuple[str, ...]


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
            got=f"{len(cases)} training case(s), {folds} fold(s)",
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
        DatasetError: no such file, another form, or what `validate_splits` refuses.
    """
    path = Path(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        splits = tuple(Split(train=tuple(entry["train"]), validation=tuple(entry["val"])) for entry in entries)
    except OSError as error:
        raise DatasetError(
            f"the splits cannot be read ({error.strerror})", where=path, remedy="check the path"
        ) from None
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
    known = set(identifiers)
    for number, split in enumerate(splits):
        train, validation = set(split.train), set(split.validation)
        if not train or not validation:
            raise DatasetError(
                f"fold {number} has an empty side",
                where=where,
                got=f"{len(train)} training and {len(validation)} validation cases",
                expected="at least one of each",
            )
        if strangers := sorted((train | validation) - known):
            raise DatasetError(
                f"fold {number} names cases that the data set lacks",
                where=where,
                got=_some(strangers),
                expected=f"identifiers such as {_some(sorted(known))}",
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
