"""The history of a fit over several levels."""

from __future__ import annotations

import pytest

from autoseg.tasks.registration.optimize import FitHistory, OptimizationResult, Stopped


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (["iterations", "converged"], "converged"),
        (["diverged", "converged"], "diverged"),
        (["converged", "diverged", "iterations"], "diverged"),
        ([], "iterations"),
    ],
)
def test_a_level_that_diverged_is_not_forgotten(ends: list[Stopped], expected: str) -> None:
    history = FitHistory()
    for number, stopped in enumerate(ends):
        history = history.then(OptimizationResult((), 0.0, (float(number), -1.0), stopped))
    fit = history.with_transform("map")
    assert fit.stopped == expected
    assert fit.iterations == 2 * len(ends)
    assert fit.history == tuple(value for number in range(len(ends)) for value in (float(number), -1.0))
