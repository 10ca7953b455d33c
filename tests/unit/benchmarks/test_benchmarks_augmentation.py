"""The comparison of augmented patches: what is measured of a patch, and when two sides differ."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.peer.machine import Peaks
from benchmarks.peer.patch_statistics import NAMES, describe
from benchmarks.peer.sections.augmentation import Setting, compare, floor


def test_a_ramp_has_its_gradient_and_labels_their_shares():
    image = np.zeros((2, 4, 5, 6), np.float32) + 2 * np.arange(6, dtype=np.float32)
    labels = np.zeros((4, 5, 6), np.int16)
    labels[0], labels[1, 0] = 1, 2
    found = dict(zip(NAMES, describe(image, labels, 2), strict=True))
    assert found["mean"] == pytest.approx(5)
    assert (found["least value"], found["greatest value"]) == (0, 10)
    assert found["deviation"] == pytest.approx(2 * np.sqrt(35 / 12))
    assert found["gradient energy"] == pytest.approx(4 / 3)  # 2 squared along one axis of three
    assert found["foreground"] == pytest.approx(36 / 120)
    assert found["rarest label"] == pytest.approx(6 / 120)


def test_equal_distributions_agree_and_a_shifted_one_does_not():
    rng = np.random.default_rng(0)
    ours, peer = rng.normal(size=(600, len(NAMES))), rng.normal(size=(500, len(NAMES)))
    assert compare(ours, peer)[1]
    peer[:, 4] += 0.4
    words, agrees = compare(ours, peer)
    assert not agrees
    assert NAMES[4] in words


def test_the_floor_is_a_cores_share_of_the_bandwidth():
    peaks = Peaks(cores=2, bandwidth=22e9, float32=1, bfloat16=1)
    assert floor(Setting((100, 100, 100), 2), peaks).seconds == pytest.approx(1e-3)
