"""Losses against nnU-Net's numbers, against plain numpy, and at the ends of their range."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from autoseg.errors import ConfigurationError
from autoseg.losses.compound import dice_binary_cross_entropy, dice_cross_entropy
from autoseg.losses.deep_supervision import deep_supervision, resolution_weights
from autoseg.losses.overlap import soft_dice
from autoseg.losses.target import Target

REGIONS = ((1, 2), (2,))
SHAPE = (2, 3, 4, 5, 6)

LOGITS = torch.cos(torch.arange(math.prod(SHAPE), dtype=torch.float64) * 0.37).reshape(SHAPE).float() * 3
LABELS = (torch.arange(2 * 4 * 5 * 6) * 7 % 11 % 3).reshape(2, 1, 4, 5, 6)
IGNORED = LABELS.clone()
IGNORED[0, 0, :2] = 3


# nnU-Net v2.8.1's DC_and_CE_loss and DC_and_BCE_loss of these tensors, in double precision.
@pytest.mark.parametrize(
    ("batch", "plain", "ignoring", "regions", "regions_ignoring"),
    [
        (True, 1.0166002842596498, 1.0070363691829167, 0.7050553560256958, 1.869031548500061),
        (False, 1.0165832075289216, 1.0060413590453587, 0.7050814032554626, 1.866112232208252),
    ],
)
def test_values_equal_nnunets(
    batch: bool, plain: float, ignoring: float, regions: float, regions_ignoring: float
) -> None:
    labels, ignored = Target.from_labels(LABELS), Target.from_labels(IGNORED, ignore=3)
    assert dice_cross_entropy(LOGITS, labels, batch_dice=batch).item() == pytest.approx(plain, abs=1e-6)
    assert dice_cross_entropy(LOGITS, ignored, batch_dice=batch).item() == pytest.approx(ignoring, abs=1e-6)
    two = LOGITS[:, :2]
    target = Target.from_labels(LABELS, regions=REGIONS)
    assert dice_binary_cross_entropy(two, target, batch_dice=batch).item() == pytest.approx(regions, abs=1e-6)
    target = Target.from_labels(IGNORED, ignore=3, regions=REGIONS)
    assert dice_binary_cross_entropy(two, target, batch_dice=batch).item() == pytest.approx(regions_ignoring, abs=1e-6)


def test_the_loss_of_labels_takes_its_sigmoid_form_for_regions_and_the_other_way_is_refused() -> None:
    target = Target.from_labels(LABELS, regions=REGIONS)
    two = LOGITS[:, :2]
    expected = dice_binary_cross_entropy(two, target, batch_dice=True)
    assert torch.equal(dice_cross_entropy(two, target, batch_dice=True), expected)
    with pytest.raises(ConfigurationError, match="needs labels that are regions"):
        dice_binary_cross_entropy(LOGITS, Target.from_labels(LABELS), batch_dice=True)


def test_cross_entropy_and_dice_equal_their_definitions() -> None:
    z = LOGITS.double().numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    y = LABELS.numpy()[:, 0]
    entropy = -np.log(np.take_along_axis(p, y[:, None], 1)).mean()
    ratios = [(2 * (p[:, c] * (y == c)).sum() + 1e-5) / (p[:, c].sum() + (y == c).sum() + 1e-5) for c in (1, 2)]
    loss = dice_cross_entropy(LOGITS, Target.from_labels(LABELS), batch_dice=True).item()
    assert loss == pytest.approx(entropy - np.mean(ratios), abs=1e-6)


def test_a_perfect_prediction_gives_minus_one() -> None:
    perfect = torch.nn.functional.one_hot(LABELS[:, 0], 3).movedim(-1, 1) * 100.0
    loss = dice_cross_entropy(perfect, Target.from_labels(LABELS), batch_dice=False)
    assert loss.item() == pytest.approx(-1, abs=1e-4)


def test_ignored_voxels_have_no_gradient() -> None:
    for loss, logits, regions in (
        (dice_cross_entropy, LOGITS.clone(), ()),
        (dice_binary_cross_entropy, LOGITS[:, :2].clone(), REGIONS),
    ):
        logits.requires_grad_()
        loss(logits, Target.from_labels(IGNORED, ignore=3, regions=regions), batch_dice=True).backward()
        assert logits.grad is not None
        assert not logits.grad[0, :, :2].any()
        assert logits.grad[0, :, 2:].any()


def test_a_batch_without_annotation_is_finite_and_has_no_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    nothing = torch.full_like(LABELS, 3)
    loss = dice_cross_entropy(logits, Target.from_labels(nothing, ignore=3), batch_dice=True)
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad is not None
    assert not logits.grad.any()


def test_batch_dice_differs_from_the_mean_of_samples_where_they_are_unequal() -> None:
    probabilities = torch.tensor([[[1.0, 1, 0, 0]], [[0.0, 0, 0, 0]]])
    target = Target(torch.tensor([[[1, 1, 0, 0]], [[1, 1, 1, 1]]]))
    members = target.members(2)
    assert soft_dice(probabilities, members, target, batch=True).item() == pytest.approx(2 * 2 / (2 + 6), abs=1e-5)
    assert soft_dice(probabilities, members, target, batch=False).item() == pytest.approx((1 + 0) / 2, abs=1e-5)


def test_a_lower_resolution_takes_the_centre_of_each_block() -> None:
    labels = torch.arange(4 * 6).reshape(1, 1, 4, 6)
    target = Target.from_labels(labels).downsample((2, 3))
    expected = torch.nn.functional.interpolate(labels.float(), size=(2, 2), mode="nearest-exact").long()
    assert torch.equal(target.labels, expected)
    assert Target.from_labels(labels).downsample((1, 1)).labels is labels


def test_deep_supervision_weighs_resolutions_by_powers_of_two() -> None:
    assert resolution_weights(3) == pytest.approx((4 / 7, 2 / 7, 1 / 7))
    loss = deep_supervision(lambda logits, target: logits.mean() + target.labels.numel(), [(1, 1), (2, 2), (2, 2)])
    labels = torch.zeros(1, 1, 8, 8, dtype=torch.long)
    logits = [torch.full((1, 2, 8, 8), 1.0), torch.full((1, 2, 4, 4), 2.0)]
    assert loss(logits, Target.from_labels(labels)).item() == pytest.approx(2 / 3 * (1 + 64) + 1 / 3 * (2 + 16))
