"""Is one method better than another on the same cases? Signed-rank test, effect size and Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, wilcoxon

_DIGITS = 10
"""Decimals of differences: beyond lies rounding, which would break ties between equal differences."""


@dataclass(frozen=True)
class SignedRankTest:
    """Result of a paired comparison.

    Attributes:
        p: two-sided p-value; 1 where nothing differs.
        smallest_p: the smallest p-value that as many differing cases can give, 2 / 2^n.
        effect: matched-pairs rank-biserial correlation, -1 (all differences negative) to 1 (all positive).
        above, below: numbers of positive and negative differences; the others are zero.
    """

    p: float
    smallest_p: float
    effect: float
    above: int
    below: int


def signed_rank_test(differences: np.ndarray) -> SignedRankTest:
    """Wilcoxon's signed-rank test of paired differences against a distribution that is symmetric around zero.

    Cases that do not differ are treated after Pratt: they take the lowest ranks, which are then left out (Wilcoxon's
    own rule leaves them out before ranking). p is exact for up to 50 differences without zeros or ties and, with scipy
    1.15 or newer, for up to 13 with them; otherwise it is the normal approximation corrected for ties.

    Args:
        differences: (n,) in any unit, without NaN; rounded to ten decimals. An empty array counts as no difference.

    Sources: Wilcoxon 1945, Biometrics Bulletin 1(6); Pratt 1959, "Remarks on zeros and ties in the Wilcoxon signed rank
    procedures", JASA 54(287); Kerby 2014, "The simple difference formula", Comprehensive Psychology 3 (effect size).
    """
    differences = np.round(np.asarray(differences, np.float64), _DIGITS)
    above, below = int((differences > 0).sum()), int((differences < 0).sum())
    if above + below == 0:
        return SignedRankTest(p=1.0, smallest_p=1.0, effect=0.0, above=0, below=0)
    ranks = rankdata(np.abs(differences))
    positive, negative = float(ranks[differences > 0].sum()), float(ranks[differences < 0].sum())
    smallest = min(1.0, 2.0 ** (1 - above - below))
    p = float(wilcoxon(differences, zero_method="pratt", correction=False).pvalue)
    return SignedRankTest(
        # The approximation can fall below what the exact test of a few cases could give.
        p=min(1.0, max(p, smallest)),
        smallest_p=smallest,
        effect=(positive - negative) / (positive + negative),
        above=above,
        below=below,
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values corrected for the number of them, in the order given; no values give none.

    The smallest of m is multiplied by m, the next by m - 1 and so on, none below a smaller one's result nor above 1.
    Whoever calls those below alpha significant is wrong about any of them with a probability of at most alpha, however
    the tests depend on each other.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1)
    return tuple(corrected.tolist())
