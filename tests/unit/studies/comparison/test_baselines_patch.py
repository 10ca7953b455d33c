"""The classifier of patches: a window at once is the same as patch by patch, and it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_cases import Drawn, ball, dice, draw_case, draw_dataset

from autoseg.errors import ConfigurationError
from autoseg.studies.comparison.baselines.patch_classifier import DrawnPatches, draw_patches, patch_classifier
from autoseg.studies.comparison.baselines.protocol import check_segmentation
from autoseg.studies.comparison.baselines.training_patches import cut, standardised


def disc(shape: tuple[int, int, int], centre: tuple[float, float, float], seed: int) -> Drawn:
    labels = ball(shape, centre, 6)
    return (100.0 * labels + np.random.default_rng(seed).normal(0, 20, shape))[None], labels


@pytest.mark.parametrize("shape", [(1, 12, 10), (3, 5, 4)])
def test_a_window_is_labelled_as_its_patches_one_by_one(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    image, labels = disc(shape, (0, 2, 2), 0)
    context = draw_dataset(tmp_path, [(np.concatenate([image, image**2]), labels)])
    fitted = patch_classifier(replace(context, options={"steps": 1, "device": "cpu"}))
    array = standardised(np.concatenate([image, image**2]))
    reach = (0 if shape[0] == 1 else 8, 8, 8)
    at_once = fitted._logits(array, (0, 0, 0), shape).reshape(2, *shape)
    for place in ((0, 0, 0), (0, 4, 3), (shape[0] - 1, 2, 1)):
        patch = cut(array, np.subtract(place, reach).tolist(), tuple(2 * side + 1 for side in reach))  # type: ignore[arg-type]
        patch = patch[:, 0] if shape[0] == 1 else patch
        with torch.inference_mode():
            alone = fitted.network(torch.from_numpy(patch)[None]).reshape(2) + fitted.prior
        np.testing.assert_allclose(at_once[(slice(None), *place)], alone.numpy(), rtol=1e-4, atol=1e-4)


def test_learns_a_disc(tmp_path: Path) -> None:
    shape = (1, 40, 36)
    context = draw_dataset(tmp_path, [disc(shape, (0, 20, 15), 0), disc(shape, (0, 12, 20), 1)])
    fitted = patch_classifier(replace(context, options={"steps": 60, "seconds": 60, "device": "cpu"}))
    image, labels = disc((1, 50, 30), (0, 30, 14), 2)
    found = fitted.predict(draw_case(tmp_path, "target", (image, labels)))
    check_segmentation(found, (1, 50, 30), context.labels, where="patch-classifier")
    assert dice(found.labels == 1, labels) > 0.85


def test_patches_are_drawn_evenly_and_the_frequencies_come_back(tmp_path: Path) -> None:
    image, labels = disc((1, 200, 200), (0, 100, 100), 0)
    values = labels.astype(np.uint8)
    values[:, :20] = 2
    drawn = draw_patches(draw_dataset(tmp_path, [(image, values)], ignore=2))
    inside = np.count_nonzero(values == 1)
    assert drawn.patches.shape[1:] == (1, 17, 17)
    np.testing.assert_array_equal(drawn.counts, [np.count_nonzero(values == 0), inside])
    np.testing.assert_array_equal(np.bincount(drawn.labels), [10_000, inside])
    centres = drawn.patches[:, 0, 8, 8].astype(float)
    assert centres[drawn.labels == 1].min() > centres[drawn.labels == 0].mean() + 2


def test_prior_by_hand() -> None:
    drawn = DrawnPatches(np.zeros((4, 1, 17, 17)), np.array([0, 0, 1, 1]), np.array([900, 100, 0]))
    prior = drawn.log_prior(3)
    np.testing.assert_allclose(np.exp(prior[:2]), [0.9 / 0.5, 0.1 / 0.5], rtol=1e-6)
    assert prior[2] < -1e8


def test_nothing_annotated_is_refused(tmp_path: Path) -> None:
    context = draw_dataset(tmp_path, [(np.zeros((1, 2, 3, 3)), np.full((2, 3, 3), 2))], ignore=2)
    with pytest.raises(ConfigurationError, match="annotated"):
        patch_classifier(context)
