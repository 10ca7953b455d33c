"""Boxes of training cases, also where they reach beyond the image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_cases import ball, draw_dataset

from autoseg.studies.comparison.baselines.training_patches import (
    around,
    cut,
    standardised,
    store_training_cases,
    windows,
)


@pytest.mark.parametrize("start", [(-2, 3, 0), (1, -4, 2), (3, 4, 5), (-9, 0, 0), (0, 0, 40)])
def test_a_box_holds_what_the_padded_array_holds(start: tuple[int, int, int]) -> None:
    array = np.random.default_rng(0).normal(size=(2, 5, 7, 6))
    padded = np.pad(array, [(0, 0), *[(50, 50)] * 3])
    box = tuple(slice(50 + first, 50 + first + length) for first, length in zip(start, (4, 6, 3), strict=True))
    np.testing.assert_array_equal(cut(array, start, (4, 6, 3)), padded[(slice(None), *box)])


def test_a_box_around_a_place_stays_inside_where_it_fits() -> None:
    assert around((5, 5, 5), (4, 4, 4), (10, 10, 10)) == [3, 3, 3]
    assert around((0, 9, 5), (4, 4, 4), (10, 10, 10)) == [0, 6, 3]
    assert around((1, 0, 0), (8, 4, 4), (4, 4, 5)) == [-2, 0, 0]


def test_windows_cover_each_voxel_once() -> None:
    covered = np.zeros((5, 7, 9), int)
    for window in windows((5, 7, 9), (2, 7, 4)):
        covered[window] += 1
    np.testing.assert_array_equal(covered, 1)


def test_each_channel_is_standardised_alone_and_a_constant_one_is_zero() -> None:
    array = np.stack([np.arange(60).reshape(3, 4, 5), np.full((3, 4, 5), 7), -3e4 * np.arange(60).reshape(3, 4, 5)])
    found = standardised(array)
    np.testing.assert_allclose(found.mean((1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(found.std((1, 2, 3)), [1, 0, 1], rtol=1e-6)


def test_stored_cases_are_mapped_with_their_foreground(tmp_path: Path) -> None:
    labels = ball((6, 8, 7), (3, 4, 3), 2.5).astype(np.uint8)
    ignored = labels.copy()
    ignored[0] = 2
    context = draw_dataset(tmp_path, [(100.0 * labels[None], ignored)], ignore=2)
    (case,) = store_training_cases(replace(context, folder=tmp_path))
    assert isinstance(case.image, np.memmap)
    np.testing.assert_allclose(case.image, standardised(100.0 * labels[None]), atol=2e-3)
    np.testing.assert_array_equal(np.sort(case.foreground, axis=0), np.sort(np.argwhere(ignored == 1), axis=0))
