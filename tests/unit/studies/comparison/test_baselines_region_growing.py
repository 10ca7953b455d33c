"""Region growing: connection and place decide where intensity does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from drawn_cases import Drawn, ball, dice, draw_case, draw_dataset

from autoseg.studies.comparison.baselines.region_growing import Appearance, region_growing, territory

SHAPE = (8, 24, 32)


def noisy(labels: np.ndarray, levels: np.ndarray, seed: int) -> np.ndarray:
    return (levels[labels] + np.random.default_rng(seed).normal(scale=2, size=labels.shape))[None]


def twins(seed: int) -> Drawn:
    """Two balls of one intensity, of which only the left one has a label."""
    rng = np.random.default_rng(seed)
    left = ball(SHAPE, (4, 12 + rng.uniform(-2, 2), 8 + rng.uniform(-1, 1)), 5)
    right = ball(SHAPE, (4, 12, 24), 5)
    image = noisy((left | right).astype(int), np.array([100, 160]), seed)
    return image, left.astype(np.uint8)


def test_a_twin_elsewhere_is_left_out(tmp_path: Path) -> None:
    context = draw_dataset(tmp_path, [twins(seed) for seed in range(4)])
    image, labels = twins(9)
    found = region_growing(context).predict(draw_case(tmp_path, "new", (image * 3, labels))).labels
    assert dice(found == 1, labels == 1) > 0.85
    assert not found[:, :, 18:].any()


def test_scattered_structures_are_all_found(tmp_path: Path) -> None:
    def nuclei(seed: int) -> Drawn:
        rng = np.random.default_rng(seed)
        labels = np.zeros((1, 48, 48), np.uint8)
        for y in (8, 24, 40):
            for x in (8, 24, 40):
                labels |= ball(labels.shape, (0, y + rng.uniform(-2, 2), x + rng.uniform(-2, 2)), 5).astype(np.uint8)
        return noisy(labels, np.array([100, 200]), seed), labels

    context = draw_dataset(tmp_path, [nuclei(seed) for seed in range(3)])
    image, labels = nuclei(9)
    found = region_growing(context).predict(draw_case(tmp_path, "new", (image, labels))).labels
    assert dice(found == 1, labels == 1) > 0.85


def test_touching_labels_share_out_their_voxels(tmp_path: Path) -> None:
    def pair(seed: int) -> Drawn:
        labels = np.zeros(SHAPE, np.uint8)
        labels[1:7, 6:18, 6:16] = 1
        labels[1:7, 6:18, 16:26] = 2
        return noisy(labels, np.array([100, 160, 220]), seed), labels

    context = draw_dataset(tmp_path, [pair(seed) for seed in range(3)], labels=3)
    image, labels = pair(9)
    found = region_growing(context).predict(draw_case(tmp_path, "new", (image, labels))).labels
    assert dice(found == 1, labels == 1) > 0.85
    assert dice(found == 2, labels == 2) > 0.85
    assert 3 not in found  # no training case has it


def test_growth_by_hand() -> None:
    intensities = np.array([0, 2, 2, 0, 2, 9, 0], np.float32).reshape(1, 1, 7)
    whole = np.zeros(3), np.ones(3)
    centre = np.array([0.5, 0.5, 1.5 / 7])
    look = Appearance(np.array([2.0]), np.array([1.0]), centre, np.full(3, 1 / 7), *whole)
    place = territory(intensities, np.ones((1, 1, 7), bool), look, 0)
    np.testing.assert_array_equal(place.distance[0, 0], [2, 0, 0, 2, 0, 7, 2])
    np.testing.assert_allclose(place.away[0, 0], np.abs(np.arange(7) - 1), atol=1e-5)
    # The seeds are voxels 1 and 2; the like one behind the gap is reached by a larger tolerance or a larger reach.
    np.testing.assert_array_equal(np.flatnonzero(place.grow(1.0, 1.5)), [1, 2])
    np.testing.assert_array_equal(np.flatnonzero(place.grow(1.0, 3.5)), [1, 2, 4])
    np.testing.assert_array_equal(np.flatnonzero(place.grow(2.5, 1.5)), [0, 1, 2, 3, 4])
