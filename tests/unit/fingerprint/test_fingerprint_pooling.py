"""Pooled statistics against numpy over the drawn voxels themselves, which is what nnU-Net v2 does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autoseg.fingerprint import drawing, pooling
from autoseg.fingerprint.pooling import Pool, draw, exact_statistics, statistics


def by_hand(drawn: np.ndarray) -> dict[str, float]:
    low, median, high = np.percentile(drawn, (0.5, 50, 99.5))
    return {
        "mean": drawn.mean(),
        "median": median,
        "std": drawn.std(),
        "min": drawn.min(),
        "max": drawn.max(),
        "percentile_00_5": low,
        "percentile_99_5": high,
    }


def foreground(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-200, 300, 2000 + 31 * seed).astype(np.int16), rng.normal(seed, 9, 2000 + 31 * seed)]


@pytest.mark.parametrize("size", [1, 50, 9999])
def test_draws_equal_a_choice_with_one_generator_a_case(size):
    pool = Pool(2)
    drawn: list[list[np.ndarray]] = [[], []]
    for case in range(5):
        channels = foreground(case)
        pool.add(draw(channels, size))
        rng = np.random.RandomState(1234)
        for channel, values in enumerate(channels):
            drawn[channel].append(rng.choice(values.astype(np.float32), size, replace=True).astype(np.float64))

    for channel, result in enumerate(pool.statistics()):
        expected = by_hand(np.concatenate(drawn[channel]))
        assert dataclasses.asdict(result) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("length", [1, 2, 64, 65, 1000, 70_000])
def test_draws_in_parts_equal_a_single_choice(length, monkeypatch):
    monkeypatch.setattr(drawing, "_AT_ONCE", 999)
    monkeypatch.setattr(drawing, "_MOST_SHARED", 0)
    values = np.arange(length, dtype=np.float32)

    samples = draw([values, values[:3]], 5000)

    rng = np.random.RandomState(1234)
    for sample, population in zip(samples, (values, values[:3]), strict=True):
        expected, counts = np.unique(rng.choice(population, 5000), return_counts=True)
        np.testing.assert_array_equal(sample.values, expected)
        np.testing.assert_array_equal(sample.counts, counts)


def test_statistics_equal_fixed_numbers_of_nnunet():
    # nnU-Net 2.8.1, DatasetFingerprintExtractor.collect_foreground_intensities(num_samples=20000), 3 cases pooled
    pool = Pool(2)
    for case in range(3):
        shape = (14 + case, 16, 18)
        n = np.arange(np.prod(shape)).reshape(shape)
        z, y, x = np.indices(shape)
        half = shape[0] // 2
        body = ((z - half) / (half - 1)) ** 2 + ((y - 8) / 6) ** 2 + ((x - 9) / 7) ** 2 < 1
        labels = np.where(body, (n // 37) % 4, 0)
        labels[half - 2, 4, 4] = 1
        channels = ((n * 7919 + case * 31) % 1009 * body, ((n * 104729 + case * 17) % 4001 - 2000) * body)
        pool.add(draw([channel[labels > 0] for channel in channels], 20_000))

    first, second = pool.statistics()

    assert (first.mean, first.std) == pytest.approx((501.45483333333334, 290.5711246149077), rel=1e-12)
    assert (first.min, first.max, first.median) == (0, 1008, 500)
    assert (first.percentile_00_5, first.percentile_99_5) == pytest.approx((2, 1003))
    assert (second.mean, second.std) == pytest.approx((29.990583333333333, 1145.7622514850073), rel=1e-12)
    assert (second.min, second.max, second.median) == (-1995, 1998, 57)
    assert (second.percentile_00_5, second.percentile_99_5) == pytest.approx((-1975, 1980))


def test_cases_without_foreground_add_nothing():
    pool = Pool(1)
    pool.add(draw([np.empty(0, np.float32)], 100))
    assert pool.is_empty
    assert all(np.isnan(value) for value in dataclasses.astuple(pool.statistics()[0]))

    pool.add(draw([np.array([3.0, 5.0])], 100))
    assert not pool.is_empty
    assert (pool.statistics()[0].min, pool.statistics()[0].max) == (3, 5)


def test_an_empty_channel_does_not_draw():
    empty_first = draw([np.empty(0), np.arange(50.0)], 20)
    alone = draw([np.arange(50.0)], 20)

    np.testing.assert_array_equal(empty_first[1].values, alone[0].values)


def test_beyond_the_limit_the_statistics_hardly_change(monkeypatch):
    monkeypatch.setattr(pooling, "_MOST_VALUES", 5000)
    monkeypatch.setattr(pooling, "_MOST_OF_CASE", 4000)
    pool, drawn = Pool(1), []
    for case in range(6):
        values = np.random.default_rng(case).normal(100, 20, 30_000).astype(np.float32)
        pool.add(draw([values], 20_000))
        drawn.append(np.random.RandomState(1234).choice(values, 20_000))

    (result,) = pool.statistics()

    expected = by_hand(np.concatenate(drawn).astype(np.float64))
    assert (result.min, result.max) == (expected["min"], expected["max"])
    assert dataclasses.asdict(result) == pytest.approx(expected, abs=0.5)
    assert result.median == pytest.approx(expected["median"], abs=0.01)


@pytest.mark.parametrize("values", [[5.0], [1.0, 2.0], [0.0] * 10 + [1.0], list(range(1000))])
def test_exact_statistics_equal_numpy(values):
    result = exact_statistics(np.array(values))

    assert dataclasses.asdict(result) == pytest.approx(by_hand(np.array(values, float)))


def test_exact_statistics_of_nothing():
    assert exact_statistics(np.empty(0)) is None


def test_counts_weigh_values():
    sample = pooling.IntensitySample(np.array([1, 10], np.float32), np.array([3, 1]))

    assert statistics(sample).mean == pytest.approx(3.25)
    assert statistics(sample).median == 1
