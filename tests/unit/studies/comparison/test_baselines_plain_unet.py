"""The U-Net of fixed size: it learns, repeats itself, and takes what comes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_cases import Drawn, ball, dice, draw_case, draw_dataset

from autoseg.studies.comparison.baselines import plain_unet as module
from autoseg.studies.comparison.baselines.plain_unet import plain_unet
from autoseg.studies.comparison.baselines.protocol import check_segmentation


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATCHES", {2: (32, 4), 3: (16, 2)})


def disc(shape: tuple[int, int, int], centre: tuple[float, float, float], seed: int) -> Drawn:
    labels = ball(shape, centre, 7)
    return (100.0 * labels + np.random.default_rng(seed).normal(0, 20, shape))[None], labels


@pytest.mark.parametrize(("dimension", "patch"), [(2, (128, 128)), (3, (64, 64, 64))])
def test_size_is_fixed(dimension: int, patch: tuple[int, ...]) -> None:
    plan = module._plan(dimension, 3)
    assert plan.patch_size == patch
    assert plan.features_per_stage == (16, 32, 64)


@pytest.mark.usefixtures("_small")
def test_learns_a_disc(tmp_path: Path) -> None:
    shape = (1, 40, 36)
    context = draw_dataset(tmp_path, [disc(shape, (0, 20, 15), 0), disc(shape, (0, 12, 20), 1)])
    fitted = plain_unet(replace(context, options={"steps": 40, "seconds": 60, "device": "cpu"}))
    image, labels = disc((1, 50, 30), (0, 30, 14), 2)
    found = fitted.predict(draw_case(tmp_path, "target", (image, labels)))
    assert dice(found.labels == 1, labels) > 0.9


@pytest.mark.usefixtures("_small")
def test_volumes_smaller_than_a_patch_with_ignored_voxels_twice_the_same(tmp_path: Path) -> None:
    image, labels = disc((6, 20, 12), (3, 10, 6), 0)
    values = labels.astype(np.uint8)
    values[0] = 2
    context = draw_dataset(tmp_path, [(np.concatenate([image, -image]), values)], ignore=2)
    context = replace(context, options={"steps": 2, "device": "cpu"})
    target = draw_case(tmp_path, "target", (np.zeros((2, 40, 9, 18)), np.zeros((40, 9, 18))))
    first, second = plain_unet(context).predict(target), plain_unet(context).predict(target)
    check_segmentation(first, (40, 9, 18), context.labels, where="plain-unet")
    np.testing.assert_array_equal(first.labels, second.labels)
