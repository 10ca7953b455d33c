"""The contract of metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from autoseg.metrics.confusion import Counts
from autoseg.metrics.table import LabelPair, Metric
from autoseg.testing.subject import Subject

_SHAPES = {(14, 17): (1.5, 0.8), (9, 12, 13): (2.5, 1.0, 1.0)}


def check_metric(subject: Subject) -> None:
    """A metric keeps these promises, for masks of planes and volumes.

    - It is a `Metric` of the name that it is registered by, with a title, a definition and a source.
    - Its value is a number in its range, or None where it does not exist, the same each time; masks stay as they are.
    - Two empty masks have none; where one is empty, it has a value or none, and that is no error.
    - A mask has the best value of the range with itself.
    - Mirroring both masks, or cutting off background around them, does not change it.
    """
    metric = subject.plugin
    subject.promise(isinstance(metric, Metric), "a Metric", type(metric).__name__)
    assert isinstance(metric, Metric)
    subject.promise(metric.name == subject.name, "the name that it is registered by", metric.name)
    told = all(text.strip() for text in (metric.title, metric.definition, metric.source))
    subject.promise(told, "a title, a definition and a source")
    subject.promise(metric.best in ("higher", "lower"), 'best "higher" or "lower"', metric.best)
    for spacing, one, other in _masks():
        empty = np.zeros_like(one)
        value = _value(subject, metric, one, other, spacing)
        subject.promise(value is not None, "a value of two masks that overlap")
        assert value is not None
        mirrored = _value(subject, metric, np.flip(one).copy(), np.flip(other).copy(), spacing)
        subject.promise(_close(value, mirrored), f"the value {value} of both masks mirrored", mirrored)
        box = (slice(1, -1),) * one.ndim
        cut = metric.compute(_pair(one, other, spacing, one[box], other[box]))
        subject.promise(_close(value, cut), f"the value {value} without the background around", cut)
        for first, second in ((one, empty), (empty, other)):
            _value(subject, metric, first, second, spacing)
        nothing = _value(subject, metric, empty, empty, spacing)
        subject.promise(nothing is None, "None for two empty masks", nothing)
        best = metric.range[1] if metric.best == "higher" else metric.range[0]
        same = _value(subject, metric, one, one, spacing)
        subject.promise(_close(best, same), f"the best value, {best}, of a mask with itself", same)


def _masks() -> Iterator[tuple[tuple[float, ...], np.ndarray, np.ndarray]]:
    """Spacing and two masks that overlap partly, lopsided ones, away from the border."""
    for shape, spacing in _SHAPES.items():
        one, other = np.zeros(shape, bool), np.zeros(shape, bool)
        one[tuple(slice(2, 7) for _ in shape)] = True
        one[tuple(slice(4, 8) for _ in shape)] = True
        other[tuple(slice(3, 8) for _ in shape)] = True
        bump: tuple[int | slice, ...] = (2, *(slice(3, 5) for _ in shape[1:]))
        other[bump] = True
        yield spacing, one, other


def _pair(one: np.ndarray, other: np.ndarray, spacing: tuple[float, ...], *cut: np.ndarray) -> LabelPair:
    """Two masks as metrics get them; with those cut to a box, the counts are those of the whole."""
    counts = Counts(
        tp=int((one & other).sum()),
        fp=int((one & ~other).sum()),
        fn=int((~one & other).sum()),
        tn=int((~one & ~other).sum()),
    )
    prediction, reference = cut or (one, other)
    return LabelPair(counts, prediction, reference, spacing)


def _value(
    subject: Subject, metric: Metric, one: np.ndarray, other: np.ndarray, spacing: tuple[float, ...]
) -> float | None:
    kept = one.copy(), other.copy()
    first, second = (metric.compute(_pair(one, other, spacing)) for _ in range(2))
    subject.promise(first == second, "the same value each time", f"{first} and {second}")
    subject.promise(bool((one == kept[0]).all() and (other == kept[1]).all()), "masks as they were")
    low, high = metric.range
    number = first is None or (isinstance(first, float | int) and math.isfinite(first) and low <= first <= high)
    subject.promise(number, f"a number from {low} to {high}, or None", first)
    return first


def _close(one: float, other: float | None) -> bool:
    return other is not None and math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
