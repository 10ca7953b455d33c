"""Counts of draws against numpy's own draws one by one."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.fingerprint import drawing
from autoseg.fingerprint.drawing import count_draws


def drawn_by_numpy(lengths: list[int], size: int) -> list[np.ndarray]:
    rng = np.random.RandomState(1234)
    return [np.bincount(rng.choice(length, size), minlength=length) if length else np.zeros(0) for length in lengths]


@pytest.mark.parametrize("length", [1, 2, 3, 255, 256, 257, 3000, 4096, 4097, 70_000])
@pytest.mark.parametrize(("size", "channels"), [(1, 1), (700, 3), (100_000, 1), (40_000, 4)])
def test_counts_equal_a_choice_with_one_generator_a_case(length, size, channels):
    lengths = [length] * channels
    for got, expected in zip(count_draws(lengths, size), drawn_by_numpy(lengths, size), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("lengths", [[0], [], [50, 0, 50], [0, 7], [50, 60]])
def test_channels_may_be_empty_or_of_different_lengths(lengths):
    counts = count_draws(lengths, 1000)

    assert [len(one) for one in counts] == lengths
    for got, expected in zip(counts, drawn_by_numpy(lengths, 1000), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_where_the_kept_numbers_do_not_suffice_they_are_drawn(monkeypatch):
    too_few = drawing._numbers(16, 0)  # two blocks of 65 536, of which nearly half are passed over
    monkeypatch.setattr(drawing, "_numbers", lambda bits, draws: too_few)

    (counts,) = count_draws([33_000], 80_000)

    np.testing.assert_array_equal(counts, drawn_by_numpy([33_000], 80_000)[0])


def test_numbers_are_made_once_for_all_cases_alike():
    drawing._numbers.cache_clear()
    for length in (2100, 2900, 4000):
        count_draws([length], 5000)

    assert drawing._numbers.cache_info().misses == 1
