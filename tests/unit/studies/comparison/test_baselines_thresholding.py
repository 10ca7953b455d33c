"""Floors, thresholds and clusters on images whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_cases import Drawn, ball, dice, draw_case, draw_dataset
from scipy.spatial.distance import cdist
from skimage.filters import threshold_otsu

from autoseg.data.image import Geometry
from autoseg.studies.comparison.baselines.clustering import k_means, nearest
from autoseg.studies.comparison.baselines.floors import empty, most_frequent
from autoseg.studies.comparison.baselines.intensities import Normalized
from autoseg.studies.comparison.baselines.thresholding import grey_classes, multi_otsu, otsu

SHAPE = (6, 20, 24)


def scene(seed: int, *levels: float, noise: float = 3.0) -> Drawn:
    """Background of the first level, and a ball for each further one, labelled 1, 2, ..."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    for value, x in zip(range(1, len(levels)), (6.0, 17.0), strict=False):
        labels[ball(SHAPE, (2.5, 10 + rng.uniform(-2, 2), x), 5)] = value
    image = np.array(levels)[labels] + rng.normal(scale=noise, size=SHAPE)
    return image[None], labels


def test_empty_and_most_frequent(tmp_path: Path) -> None:
    image, labels = scene(0, 100, 200)
    labels[:] = 1
    labels[:2] = 0
    labels[2:5, 1:] = 2  # ignored, although the most frequent
    context = draw_dataset(tmp_path, [(image, labels)], ignore=2)
    assert not empty(context).predict(context.training[0]).labels.any()
    counts = np.bincount(labels.ravel())
    wanted = int(counts[1] > counts[0])
    assert (most_frequent(context).predict(context.training[0]).labels == wanted).all()


def test_most_frequent_may_be_foreground(tmp_path: Path) -> None:
    image, labels = scene(0, 100, 200)
    context = draw_dataset(tmp_path, [(image, 1 - labels)])
    assert (most_frequent(context).predict(context.training[0]).labels == 1).all()


def test_two_classes_are_those_of_otsus_threshold() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(m, 1, 2000) for m in (0, 6)]).astype(np.float32)
    image = Normalized(values.reshape(1, 1, 40, 100), np.ones((1, 40, 100), bool), Geometry.plane())
    found = grey_classes(image, 0, 2)
    assert found is not None
    expected = values > threshold_otsu(values, nbins=256)
    assert np.count_nonzero(found.astype(bool) != expected) <= 2  # a bin's width about the threshold


@pytest.mark.parametrize("levels", [(100.0, 200.0), (200.0, 100.0)], ids=["bright", "dark"])
def test_otsu_learns_on_which_side_the_object_is(tmp_path: Path, levels: tuple[float, float]) -> None:
    context = draw_dataset(tmp_path, [scene(seed, *levels) for seed in range(3)])
    image, labels = scene(9, *levels)
    case = draw_case(tmp_path, "new", (5 * image + 1000, labels))  # another scanner
    np.testing.assert_array_equal(otsu(context).predict(case).labels, labels)


def test_otsu_takes_the_channel_that_shows_the_object(tmp_path: Path) -> None:
    def two_channels(seed: int) -> Drawn:
        image, labels = scene(seed, 100, 200)
        return np.concatenate([np.random.default_rng(seed).uniform(1, 2, (1, *SHAPE)), image]), labels

    context = draw_dataset(tmp_path, [two_channels(seed) for seed in range(3)])
    fitted = otsu(context)
    assert (fitted.channel, fitted.note) == (1, "channel MR, 2 classes")
    new = two_channels(9)
    np.testing.assert_array_equal(fitted.predict(draw_case(tmp_path, "new", new)).labels, new[1])


@pytest.mark.parametrize("levels", [(100.0, 160.0, 220.0), (160.0, 100.0, 220.0), (220.0, 160.0, 100.0)])
def test_multi_otsu_and_k_means_name_three_levels(tmp_path: Path, levels: tuple[float, ...]) -> None:
    context = draw_dataset(tmp_path, [scene(seed, *levels) for seed in range(3)], labels=2)
    new = scene(9, *levels)
    case = draw_case(tmp_path, "new", new)
    np.testing.assert_array_equal(multi_otsu(context).predict(case).labels, new[1])
    found = k_means(context).predict(case).labels
    assert min(dice(found == value, new[1] == value) for value in (1, 2)) > 0.95


def test_k_means_uses_channels_together(tmp_path: Path) -> None:
    """An object that is bright in one channel and dark in the other, among structures that are either."""

    def both(seed: int) -> Drawn:
        rng = np.random.default_rng(seed)
        first, second = (ball(SHAPE, (2.5, 10, x), 6) for x in (8, 15))
        image = np.stack([100 + 80 * first, 100 + 80 * second]) + rng.normal(scale=4, size=(2, *SHAPE))
        return image, (first & second).astype(np.uint8)

    context = draw_dataset(tmp_path, [both(seed) for seed in range(3)])
    new = both(9)
    case = draw_case(tmp_path, "new", new)
    assert dice(k_means(context).predict(case).labels == 1, new[1] == 1) > 0.95
    assert dice(otsu(context).predict(case).labels == 1, new[1] == 1) < 0.8


def test_the_nearest_centre() -> None:
    rng = np.random.default_rng(0)
    array, centres = rng.normal(size=(3, 2, 5, 5)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    inside = rng.random((2, 5, 5)) < 0.7
    found = nearest(Normalized(array, inside, Geometry()), centres)
    np.testing.assert_array_equal(found, cdist(array[:, inside].T, centres).argmin(axis=1))


def test_an_image_without_contrast_is_background(tmp_path: Path) -> None:
    context = draw_dataset(tmp_path, [scene(seed, 100, 200) for seed in range(3)])
    flat = np.full((1, *SHAPE), 50.0)
    case = draw_case(tmp_path, "flat", (flat, np.zeros(SHAPE)))
    assert not otsu(context).predict(case).labels.any()
    assert not multi_otsu(context).predict(case).labels.any()
