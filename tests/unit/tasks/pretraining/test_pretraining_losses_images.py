"""Losses of restored images, positions and rotations against lightly, loops and analytic values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg.errors import TrainingError
from autoseg.tasks.pretraining.blocks import at_resolution, to_blocks
from autoseg.tasks.pretraining.losses.position import rotation, volume_contrast
from autoseg.tasks.pretraining.losses.reconstruction import masked_reconstruction, normalised, restoration

# lightly 1.5.22 (torch 2.13.0) in double precision: MSELoss of get_at_index(patchify(., 4), hidden patches) of
# _normal(8, 2, 3, 8, 8) and _normal(7, 2, 3, 8, 8), the second through normalize_mean_var for the second number.
LIGHTLY = {False: 1.9050892840554212, True: 2.0112541843532177}
HIDDEN = torch.tensor([[[False, True], [True, True]], [[True, True], [False, True]]])


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("normalise", LIGHTLY)
def test_masked_reconstruction_equals_lightly(normalise: bool) -> None:
    restored, image = _normal(8, 2, 3, 8, 8), _normal(7, 2, 3, 8, 8)
    found = masked_reconstruction(restored, image, HIDDEN, (4, 4), normalise=normalise)
    assert float(found) == pytest.approx(LIGHTLY[normalise], rel=1e-13)


def test_masked_reconstruction_by_loops_in_3d() -> None:
    restored, image = _normal(1, 2, 1, 4, 4, 6), _normal(2, 2, 1, 4, 4, 6)
    mask = torch.from_numpy(np.random.default_rng(3).random((2, 2, 1, 3)) < 0.5)
    terms = [
        float((restored[n, 0, z, y, x] - image[n, 0, z, y, x]) ** 2)
        for n, z, y, x in np.ndindex(2, 4, 4, 6)
        if mask[n, z // 2, y // 4, x // 2]
    ]
    assert float(masked_reconstruction(restored, image, mask, (2, 4, 2))) == pytest.approx(np.mean(terms), rel=1e-12)


def test_what_is_visible_has_no_influence_on_masked_reconstruction() -> None:
    restored, image = _normal(1, 2, 3, 8, 8).requires_grad_(), _normal(2, 2, 3, 8, 8)
    visible = ~at_resolution(HIDDEN, (8, 8)).unsqueeze(1)
    loss = masked_reconstruction(restored, image, HIDDEN, (4, 4))
    loss.backward()
    assert restored.grad is not None
    assert not restored.grad[visible.expand_as(restored)].any()
    changed = torch.where(visible, image + 5, image)
    assert masked_reconstruction(restored, changed, HIDDEN, (4, 4)).item() == loss.item()
    assert masked_reconstruction(restored, image, torch.zeros_like(HIDDEN), (4, 4)).item() == 0


def test_blocks_of_any_brightness_and_contrast_are_the_same_when_normalised() -> None:
    blocks = _normal(1, 2, 4, 32)
    torch.testing.assert_close(normalised(3 * blocks + 8), normalised(blocks), atol=1e-5, rtol=1e-5)
    assert not normalised(torch.full((1, 1, 8), 5.0)).any()


def test_blocks_hold_their_voxels_in_order() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4)
    image = torch.cat((image, image + 100), dim=1)
    blocks = to_blocks(image, (2, 2))
    assert blocks[0, 1].tolist() == [2, 102, 3, 103, 6, 106, 7, 107]
    with pytest.raises(TrainingError, match="cannot be cut into blocks"):
        to_blocks(image, (3, 2))
    with pytest.raises(TrainingError, match="does not fit the features"):
        at_resolution(HIDDEN, (5, 8))


def test_restoration_is_the_mean_squared_error() -> None:
    restored, image = _normal(1, 2, 1, 4, 4), _normal(2, 2, 1, 4, 4)
    assert float(restoration(restored, image)) == pytest.approx(float(((restored - image) ** 2).mean()), rel=1e-12)


def test_volume_contrast_by_loops() -> None:
    crop, bases = _normal(1, 3, 6), _normal(2, 3, 4, 6)
    shares = torch.from_numpy(np.random.default_rng(3).dirichlet(np.ones(4), 3))

    def cosine(a: Tensor, b: Tensor) -> float:
        return float(a @ b / (a.norm() * b.norm()))

    near = []
    for n, m in np.ndindex(3, 4):
        similarity = max(0.0, cosine(crop[n], bases[n, m]))
        near.append(-math.log(1 - abs(float(shares[n, m]) - similarity)))
    spread = [abs(cosine(bases[n, i], bases[n, j])) for n in range(3) for i in range(4) for j in range(i + 1, 4)]
    found = float(volume_contrast(crop, bases, shares, spread_weight=0.3))
    assert found == pytest.approx(np.mean(near) + 0.3 * np.mean(spread), rel=1e-12)


def test_volume_contrast_of_crops_that_lie_on_one_base_each() -> None:
    bases = torch.eye(4).expand(4, 4, 4)
    assert float(volume_contrast(torch.eye(4), bases, torch.eye(4))) == pytest.approx(0, abs=1e-6)
    assert float(volume_contrast(torch.eye(4), bases[:, :1], torch.eye(4)[:, :1])) == pytest.approx(0, abs=1e-6)
    alike = torch.ones(2, 4, 3, requires_grad=True)
    loss = volume_contrast(alike[:, 0], alike, torch.full((2, 4), 0.25))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(4) + 1, rel=1e-5)  # -log(1 - 0.75), and |cos| = 1
    assert alike.grad is not None
    assert bool(alike.grad.isfinite().all())


def test_the_prediction_of_a_position_does_not_move_the_bases() -> None:
    crop, bases = _normal(1, 2, 4).requires_grad_(), _normal(2, 2, 3, 4).requires_grad_()
    volume_contrast(crop, bases, torch.full((2, 3), 1 / 3), spread_weight=0).backward()
    assert crop.grad is not None
    assert crop.grad.any()
    assert bases.grad is not None
    assert not bases.grad.any()


@pytest.mark.parametrize("count", [4, 24])
def test_rotation_of_logits_that_know_nothing(count: int) -> None:
    turns = torch.arange(count)
    assert float(rotation(torch.zeros(count, count), turns)) == pytest.approx(math.log(count))
    assert float(rotation(100 * torch.eye(count), turns)) == pytest.approx(0, abs=1e-6)
