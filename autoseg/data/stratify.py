"""Cases, or groups of cases that stay together, dealt out to folds so that the folds resemble each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set

import numpy as np


def deal(groups: Mapping[str, str], folds: int, seed: int) -> dict[str, int]:
    """The fold of each case: groups stay whole and folds hold about equally many cases.

    The largest groups are dealt first, each to the fold with the fewest cases, as in scikit-learn's GroupKFold; groups
    of equal size are shuffled.

    Args:
        groups: case -> group.
    """
    sizes = Counter(groups.values())
    names = sorted(sizes)
    order = [names[i] for i in np.random.RandomState(seed).permutation(len(names))]
    filled = [0] * folds
    chosen: dict[str, int] = {}
    for group in sorted(order, key=lambda group: -sizes[group]):
        chosen[group] = filled.index(min(filled))
        filled[chosen[group]] += sizes[group]
    return {case: chosen[group] for case, group in groups.items()}


def deal_stratified(
    groups: Mapping[str, str], classes: Mapping[str, Set[str]], folds: int, seed: int
) -> dict[str, int]:
    """The fold of each case such that, as far as groups allow, every fold has its share of the cases of each class.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011, "On the stratification of multi-label data",
    algorithm 1): the class with the fewest cases left is dealt out first, each of its cases to the fold that lacks it
    most, then to the one with the most room, then by chance. Unlike there a fold that is full takes no more, so that
    without groups the folds' sizes differ by one case at most; here a group counts with all of its cases, and no fold
    is left empty.

    Args:
        groups: case -> group; a case of its own is a group of one.
        classes: case -> names of the classes that occur in it.
        folds: at most as many as there are groups.
        seed: of the shuffling.
    """
    random = np.random.RandomState(seed)
    names = sorted(set(groups.values()))
    order = [names[i] for i in random.permutation(len(names))]
    sizes = Counter(groups.values())
    held: dict[str, Counter[str]] = {name: Counter() for name in names}
    for case, group in groups.items():
        held[group].update(classes[case])
    order.sort(key=lambda group: -sizes[group])  # stable: equal sizes stay shuffled
    room = [len(part) for part in np.array_split(np.arange(len(groups)), folds)]
    totals = sum(held.values(), Counter())
    shares = {name: [total / folds] * folds for name, total in totals.items()}
    chosen: dict[str, int] = {}
    while len(chosen) < len(names):
        left = sum((held[group] for group in order if group not in chosen), Counter())
        rarest = min(left, key=lambda name: (left[name], name)) if left else None
        for group in order:
            if group in chosen or (rarest is not None and rarest not in held[group]):
                continue
            fold = _neediest(room, shares[rarest] if rarest else room, sizes[group], random)
            chosen[group] = fold
            room[fold] -= sizes[group]
            for name, count in held[group].items():
                shares[name][fold] -= count
    _fill_empty(chosen, sizes, room)
    return {case: chosen[group] for case, group in groups.items()}


def _neediest(room: Sequence[int], need: Sequence[float], size: int, random: np.random.RandomState) -> int:
    """Of the folds with room for a group, else with most room, the one with the greatest need."""
    fitting = [fold for fold, free in enumerate(room) if free >= size]
    if not fitting:
        fitting = [fold for fold, free in enumerate(room) if free == max(room)]
    best = max((round(need[fold], 9), room[fold]) for fold in fitting)
    equal = [fold for fold in fitting if (round(need[fold], 9), room[fold]) == best]
    return equal[random.randint(len(equal))]


def _fill_empty(chosen: dict[str, int], sizes: Mapping[str, int], room: list[int]) -> None:
    """Gives each fold without a group the smallest one of the fullest fold that has several; in place."""
    for empty in sorted(set(range(len(room))) - set(chosen.values())):
        members = Counter(chosen.values())
        several = [group for group, fold in chosen.items() if members[fold] > 1]
        moved = min(several, key=lambda group: (room[chosen[group]], sizes[group]))
        room[chosen[moved]] += sizes[moved]
        room[empty] -= sizes[moved]
        chosen[moved] = empty
