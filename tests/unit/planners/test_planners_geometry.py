"""Percentiles against numpy's, bit for bit: plans equal nnU-Net's only if they are."""

from __future__ import annotations

import numpy as np
import pytest

from planners.geometry import percentile


@pytest.mark.parametrize("percent", [0, 10, 37.5, 50, 99.5, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 10, 131, 260])
def test_percentiles_equal_numpys(count: int, percent: float) -> None:
    rng = np.random.default_rng(count)
    for values in (rng.uniform(0.3, 6.0, count), rng.integers(1, 600, count), np.full(count, 0.1)):
        assert percentile(values.tolist(), percent) == np.percentile(values, percent)


@pytest.mark.parametrize("count", [1, 2, 5, 260])
def test_the_median_of_whole_numbers_equals_numpys(count: int) -> None:
    values = np.random.default_rng(count).integers(1, 2**40, count)

    assert percentile(values.tolist(), 50) == np.median(values)
