"""Which labelled cases a training with few labels has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.data.splits import Split

COUNTS = (5, 10, 20, 50)
"""Labelled cases."""

DRAWS = 3
"""How often so many are drawn."""


@dataclass(frozen=True)
class Draw:
    """The labelled cases of one training; in the splits of the experiment a fold of its own.

    Attributes:
        cases: how many.
        number: of the draw.
        split: these cases, and the validation cases that all draws share.
    """

    cases: int
    number: int
    split: Split


def draws_of(split: Split, counts: Sequence[int] = COUNTS, draws: int = DRAWS) -> list[Draw]:
    """All draws from a fold's training cases, smaller counts first; counts above their number are left out.

    Draw k of few cases is a part of draw k of more, so that a curve over the counts shows what added labels bring.
    """
    cases = sorted(split.train)
    orders = [np.random.default_rng(number).permutation(len(cases)) for number in range(draws)]
    return [
        Draw(count, number, Split(train=tuple(sorted(cases[i] for i in order[:count])), validation=split.validation))
        for count in counts
        if count <= len(cases)
        for number, order in enumerate(orders)
    ]
