"""How far raters agree who labelled the same cases: pairs, each against the others, chance-corrected agreement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from autoseg.evaluation.bootstrap import mean_intervals
from autoseg.metrics.score import score_labels
from autoseg.records import Record
from autoseg.studies.raters.consensus import ConsensusKind, foreground_box, majority

METRICS = ("dice", "hd95")
"""What is compared between two label images; both are the same whichever of the two comes first."""

RaterScores = dict[str, dict[str, float | None]]
"""Label -> metric of `METRICS` -> value; None where it does not exist, as Dice of a label that neither has drawn."""


class PairScores(Record):
    """Two raters on one case."""

    raters: tuple[str, str]
    scores: RaterScores


class CaseAgreement(Record):
    """The raters of one case.

    Attributes:
        raters: who labelled it, at least two.
        pairs: every two of them.
        others: rater -> scores against the majority of all others; empty for two raters.
        kappa: label -> Fleiss' kappa of that label against the rest, over the voxels of the smallest box that holds
            every rater's foreground, of all labels; None where nobody drew it.
        kappa_of_all: the same of all label values at once.
        tied_voxels: voxels in which no value has most votes; the majority takes the smallest there.
    """

    raters: tuple[str, ...]
    pairs: tuple[PairScores, ...]
    others: dict[str, RaterScores]
    kappa: dict[str, float | None]
    kappa_of_all: float | None
    tied_voxels: int


class Statistic(Record):
    """One number over the cases: those that have a value, their mean and median; None without any."""

    mean: float | None
    median: float | None
    cases: int


class PairAgreement(Record):
    """Two raters over the cases that both labelled: label -> metric -> statistic."""

    raters: tuple[str, str]
    labels: dict[str, dict[str, Statistic]]


class HumanAgreement(Record):
    """What Dice a rater has with another rater: the level of a model that draws as raters do.

    Attributes:
        dice: mean over the cases of each case's mean over its pairs of raters; None without any value.
        interval: 95 percent of the mean, by bootstrap over cases; None for fewer than two cases.
        cases: that have a value.
    """

    dice: float | None
    interval: tuple[float, float] | None
    cases: int


class Agreement(Record):
    """Several raters on a set of cases.

    Attributes:
        raters: name -> folder.
        missing: rater -> cases that others labelled and this one did not.
        errors: case -> why it could not be compared.
        labels: names.
        human: label -> Dice between raters.
        pairs: every two raters that share a case.
        others: rater -> label -> metric -> statistic against the majority of the others.
        kappa, kappa_of_all: Fleiss' kappa of the cases.
        cases: case -> agreement.
        consensus: what was written, if anything.
        channels: of soft labels, names in the order of the channels.
    """

    raters: dict[str, str]
    missing: dict[str, tuple[str, ...]]
    errors: dict[str, str]
    labels: tuple[str, ...]
    human: dict[str, HumanAgreement]
    pairs: tuple[PairAgreement, ...]
    others: dict[str, dict[str, dict[str, Statistic]]]
    kappa: dict[str, Statistic]
    kappa_of_all: Statistic
    cases: dict[str, CaseAgreement]
    consensus: ConsensusKind | None = None
    channels: tuple[str, ...] = ()


def agree(
    votes: Mapping[str, np.ndarray],
    foreground: Mapping[str, Sequence[int]],
    spacing: Sequence[float],
    *,
    dimension: int,
    ignore: int | None = None,
) -> CaseAgreement:
    """Compares the raters of one case.

    Args:
        votes: rater -> training values of one shape (Z, Y, X), at least two; 0 is background.
        foreground: name -> training values of a label or region.
        spacing: mm, (z, y, x).
        dimension: 2 for a plane image.
        ignore: value of voxels without annotation. What any rater left out counts nowhere.
    """
    names, arrays = tuple(votes), list(votes.values())
    counted = None
    if ignore is not None:
        counted = np.logical_and.reduce([array != ignore for array in arrays])
        arrays = [np.where(counted, array, 0) for array in arrays]
    box = foreground_box(arrays) or tuple(slice(0, 1) for _ in arrays[0].shape)  # of nothing one voxel is enough
    arrays = [array[box] for array in arrays]
    counted = None if counted is None else counted[box]
    labels = 1 + max(int(array.max()) for array in arrays)

    def scores(one: np.ndarray, other: np.ndarray) -> RaterScores:
        scored = score_labels(one, other, foreground, spacing, dimension=dimension, metrics=METRICS)
        return {label: {metric: row[metric] for metric in METRICS} for label, row in scored.items()}

    pairs = [
        PairScores(raters=(names[i], names[j]), scores=scores(arrays[i], arrays[j]))
        for i, j in combinations(range(len(names)), 2)
    ]
    others = {}
    for i, name in enumerate(names if len(names) > 2 else ()):
        rest = [array for j, array in enumerate(arrays) if j != i]
        others[name] = scores(arrays[i], majority(rest, labels)[0])
    return CaseAgreement(
        raters=names,
        pairs=tuple(pairs),
        others=others,
        kappa={
            label: fleiss_kappa([np.isin(array, values) for array in arrays], counted)
            for label, values in foreground.items()
        },
        kappa_of_all=fleiss_kappa(arrays, counted),
        tied_voxels=majority(arrays, labels)[1],
    )


def fleiss_kappa(votes: Sequence[np.ndarray], counted: np.ndarray | None = None) -> float | None:
    """Agreement of raters beyond chance, at most 1; 0 is what chance gives, less than that disagrees.

    It depends on how much background the arrays hold: more of it makes agreement by chance more likely and kappa not
    comparable between structures. Read Dice first.

    Args:
        votes: non-negative integers or booleans of one shape, of at least two raters; each value is a category.
        counted: boolean of that shape, the voxels that count; all by default.

    Returns:
        None without voxels, and where all raters give every voxel the same single category.

    Source: Fleiss 1971, Psychological Bulletin 76(5), eq. 3 to 8. The agreement within a voxel is counted there by
    category; here, which is the same, by pairs of raters.
    """
    arrays = [(array if counted is None else array[counted]).ravel().astype(np.intp) for array in votes]
    voxels, raters = arrays[0].size, len(arrays)
    if voxels == 0:
        return None
    equal = sum(int(np.count_nonzero(one == other)) for one, other in combinations(arrays, 2))
    observed = equal / (voxels * raters * (raters - 1) / 2)
    categories = 1 + max(int(array.max()) for array in arrays)
    totals = np.sum([np.bincount(array, minlength=categories) for array in arrays], axis=0)
    expected = float(np.square(totals / (voxels * raters)).sum())
    return None if totals.max() == voxels * raters else (observed - expected) / (1 - expected)


def summarise_raters(
    cases: Mapping[str, CaseAgreement],
    raters: Mapping[str, str],
    *,
    missing: Mapping[str, Sequence[str]],
    errors: Mapping[str, str],
    consensus: ConsensusKind | None = None,
    channels: Sequence[str] = (),
) -> Agreement:
    """Puts the cases together; arguments as the fields of `Agreement`. No cases give no labels and no pairs.

    Args:
        cases: identifier -> agreement of the raters on it.
        raters: name -> folder.
        missing: rater -> cases that others labelled and this one did not.
        errors: case -> why it could not be compared.
        consensus: what was written, if anything.
        channels: of soft labels, names in the order of the channels.
    """
    agreements = [cases[case] for case in sorted(cases)]
    labels = tuple(dict.fromkeys(label for case in agreements for label in case.kappa))
    if all(label.isdecimal() for label in labels):  # labels that are named by their values
        labels = tuple(sorted(labels, key=int))
    by_pair: dict[tuple[str, str], list[RaterScores]] = {}
    by_rater: dict[str, list[RaterScores]] = {}
    for case in agreements:
        for pair in case.pairs:
            by_pair.setdefault(pair.raters, []).append(pair.scores)
        for name, scores in case.others.items():
            by_rater.setdefault(name, []).append(scores)
    return Agreement(
        raters=dict(raters),
        missing={name: tuple(absent) for name, absent in missing.items() if absent},
        errors=dict(errors),
        labels=labels,
        human={label: _human(agreements, label) for label in labels},
        pairs=tuple(PairAgreement(raters=pair, labels=_statistics(rows, labels)) for pair, rows in by_pair.items()),
        others={name: _statistics(by_rater[name], labels) for name in raters if name in by_rater},
        kappa={label: _statistic(case.kappa.get(label) for case in agreements) for label in labels},
        kappa_of_all=_statistic(case.kappa_of_all for case in agreements),
        cases={case: cases[case] for case in sorted(cases)},
        consensus=consensus,
        channels=tuple(channels),
    )


def _human(cases: Sequence[CaseAgreement], label: str) -> HumanAgreement:
    values = []
    for case in cases:
        dice = [pair.scores.get(label, {}).get("dice") for pair in case.pairs]
        scored = [value for value in dice if value is not None]
        if scored:
            values.append(float(np.mean(scored)))
    if not values:
        return HumanAgreement(dice=None, interval=None, cases=0)
    low, high = mean_intervals(np.array([values]))[0].tolist()
    interval = (low, high) if len(values) > 1 else None
    return HumanAgreement(dice=float(np.mean(values)), interval=interval, cases=len(values))


def _statistics(rows: Sequence[RaterScores], labels: Sequence[str]) -> dict[str, dict[str, Statistic]]:
    return {
        label: {metric: _statistic(row.get(label, {}).get(metric) for row in rows) for metric in METRICS}
        for label in labels
    }


def _statistic(values: Iterable[float | None]) -> Statistic:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return Statistic(mean=None, median=None, cases=0)
    return Statistic(mean=float(np.mean(numbers)), median=float(np.median(numbers)), cases=len(numbers))
