"""Whether a number was reproduced: intervals by the bootstrap, and the verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from autoseg.evaluation.bootstrap import resampled_sums
from autoseg.metrics.table import Metric
from autoseg.records import Record

Outcome = Literal["reproduced", "above", "below", "not comparable"]

SLACK = 0.005
"""A ratio that falls short of the published one by less than this beyond its interval counts as reproduced."""

LEVEL = 0.95
"""Share of resamples within an interval."""

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class Interval(Record):
    """Where a mean lies in `LEVEL` of the resamples.

    Attributes:
        low, high: its ends, in the unit of the metric.
    """

    low: float
    high: float


class BenchmarkVerdict(Record):
    """What can be said about a reproduced number.

    Attributes:
        outcome: "reproduced": the published value lies within the interval of the reproduced one, or is better than it
            by less than `SLACK`. "above", "below": the reproduced value is higher or lower than that. "not comparable":
            something else than chance sets the two apart.
        reasons: why the two cannot be compared, a clause each; empty if they can.
        text: the whole verdict, with both values.
    """

    outcome: Outcome
    reasons: tuple[str, ...] = ()
    text: str


def mean_of_labels(values: np.ndarray) -> float | None:
    """Mean over the labels of each label's mean over the cases, as nnU-Net averages.

    Args:
        values: (cases, labels), NaN where a value does not exist; a label without any value does not count.

    Returns:
        None if there is no value at all.
    """
    scored = ~np.isnan(values)
    mean = _means(np.where(scored, values, 0.0).sum(axis=0)[None], scored.sum(axis=0)[None])[0, -1]
    return None if np.isnan(mean) else float(mean)


def bootstrap_intervals(values: np.ndarray, *, seed: int = 0) -> tuple[tuple[Interval | None, ...], Interval | None]:
    """Percentile intervals of the labels' means over the cases and of `mean_of_labels`.

    Cases are drawn with replacement, all labels of a case together (Efron 1979, Annals of Statistics 7(1)). The
    intervals say how much the means depend on which cases there are; that another training of the same length gives
    other weights is not in them.

    Args:
        values: (cases, labels), NaN where a value does not exist.
        seed: of the draws (`evaluation.bootstrap`).

    Returns:
        An interval per label and that of their mean; None for fewer than two cases, and where no value exists.
    """
    cases, labels = values.shape
    if cases < 2:
        return (None,) * labels, None
    scored = ~np.isnan(values)
    sums = resampled_sums(np.concatenate([np.where(scored, values, 0.0), scored], axis=1).T, seed=seed)
    means = _means(sums[:, :labels], sums[:, labels:])
    intervals = tuple(_interval(column) for column in means.T)
    return intervals[:-1], intervals[-1]


def _means(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n, labels + 1) of sums and numbers of values, (n, labels) each: the labels' means, and the mean of these last.

    NaN without a value.
    """
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    drawn = counts > 0
    total = np.where(drawn, means, 0.0).sum(axis=1)
    number = drawn.sum(axis=1)
    mean = np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0)
    return np.concatenate([means, mean[:, None]], axis=1)


def _interval(means: np.ndarray) -> Interval | None:
    finite = means[~np.isnan(means)]
    if not finite.size:
        return None
    low, high = np.quantile(finite, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(low=float(low), high=float(high))


def judge(metric: Metric, published: float, reproduced: float, interval: Interval | None) -> Outcome:
    """Where a published value lies beside a reproduced one and its interval; without an interval, the value itself.

    Args:
        metric: says which direction is better, and its range.
        published: mean as published.
        reproduced: mean of this run.
        interval: of the reproduced mean; None where there is none.
    """
    low, high = (reproduced, reproduced) if interval is None else (interval.low, interval.high)
    if low <= published <= high:
        return "reproduced"
    shortfall = published - high if metric.best == "higher" else low - published
    if metric.range == (0.0, 1.0) and 0 < shortfall < SLACK:
        return "reproduced"
    return "below" if published > high else "above"


def give_verdict(
    metric: Metric,
    published: float | None,
    reproduced: float | None,
    interval: Interval | None,
    *,
    where: str = "",
    reasons: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> BenchmarkVerdict:
    """The verdict about one number.

    Args:
        metric: of both values.
        published, reproduced: None where there is no such value, which is a reason of its own.
        interval: of the reproduced value.
        where: what both values are of, if not of all folds ("on fold 0").
        reasons: clauses that say what keeps the two from being compared.
        remarks: sentences to be read beside the verdict.
    """
    reasons = list(reasons)
    if published is None and not reasons:
        reasons.append("nothing was published to compare with")
    if reproduced is None:
        reasons.append("no validated case has a value")
    figures = _figures(metric, published, reproduced, interval, where)
    if reasons or published is None or reproduced is None:
        text = f"not comparable: {'; '.join(reasons)}. {figures}"
        return BenchmarkVerdict(outcome="not comparable", reasons=tuple(reasons), text=" ".join([text, *remarks]))
    outcome = judge(metric, published, reproduced, interval)
    return BenchmarkVerdict(outcome=outcome, text=" ".join([f"{outcome}: {figures}", *remarks]))


def _figures(
    metric: Metric, published: float | None, reproduced: float | None, interval: Interval | None, where: str
) -> str:
    """Both values in a sentence."""
    head = f"{metric.title} {where}:" if where else metric.title
    said = "" if published is None else f"{value_text(metric, published)} published, "
    ours = "none reproduced" if reproduced is None else f"{value_text(metric, reproduced)} reproduced"
    if interval is not None:
        ours += f" (95 % interval {value_text(metric, interval.low)} to {value_text(metric, interval.high)})"
    return f"{head} {said}{ours}."


def value_text(metric: Metric, value: float | None) -> str:
    """A value as publications give it: four places for a ratio, two with the unit for a length, a dash for none."""
    if value is None:
        return "-"
    return f"{value:.2f} {metric.unit}" if metric.unit else f"{value:.4f}"


def few_of(part: int, whole: int) -> str:
    """Words such as "one of five"; numbers beyond ten in digits."""
    words = [_NUMBERS[n] if n < len(_NUMBERS) else str(n) for n in (part, whole)]
    return f"{words[0]} fold{'' if part == 1 else 's'} of {words[1]}"
