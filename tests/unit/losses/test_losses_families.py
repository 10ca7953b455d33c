"""The losses beside nnU-Net's default: against their formulas in numpy, nnU-Net's numbers, and at their ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from autoseg import plugins
from autoseg.losses.cross_entropy import cross_entropy
from autoseg.losses.focal import focal
from autoseg.losses.overlap import dice
from autoseg.losses.target import Target
from autoseg.losses.top_k import dice_top_k_cross_entropy
from autoseg.losses.tversky import tversky

REGIONS = ((1, 2), (2,))
SHAPE = (2, 3, 4, 5, 6)
LOGITS = torch.cos(torch.arange(math.prod(SHAPE), dtype=torch.float64) * 0.37).reshape(SHAPE).float() * 3
LABELS = (torch.arange(2 * 4 * 5 * 6) * 7 % 11 % 3).reshape(2, 1, 4, 5, 6)
IGNORED = LABELS.clone()
IGNORED[0, 0, :2] = 3

NAMES = [name for name in plugins.names("loss") if name != "dice-binary-cross-entropy"]  # which is for regions only


def softmax() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (B, K, ...) and one-hot labels of the same shape, in double precision."""
    z = LOGITS.double().numpy()
    members = LABELS.numpy() == np.arange(3).reshape(1, 3, 1, 1, 1)
    return np.exp(z) / np.exp(z).sum(1, keepdims=True), members.astype(float)


def sigmoid() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (B, R, ...) of what is true of the two regions, and membership."""
    p = 1 / (1 + np.exp(-LOGITS[:, :2].double().numpy()))
    members = np.concatenate([LABELS.numpy() >= 1, LABELS.numpy() == 2], axis=1)
    return np.where(members, p, 1 - p), members


def ratio(p: np.ndarray, y: np.ndarray, false: float, missed: float) -> np.ndarray:
    """Tversky indices of each sample and foreground class; Dice for 0.5 and 0.5."""
    axes = (2, 3, 4)
    overlap = (p * y).sum(axes)
    return overlap / (overlap + false * (p * (1 - y)).sum(axes) + missed * ((1 - p) * y).sum(axes))


def test_cross_entropy_and_focal_loss_equal_their_formulas() -> None:
    p, y = softmax()
    right = (p * y).sum(1)
    plain = Target.from_labels(LABELS)
    assert cross_entropy(LOGITS, plain, batch_dice=True).item() == pytest.approx(-np.log(right).mean(), abs=1e-6)
    expected = -((1 - right) ** 2 * np.log(right)).mean()
    assert focal(LOGITS, plain, batch_dice=True).item() == pytest.approx(expected, abs=1e-6)

    right, _ = sigmoid()
    regions, two = Target.from_labels(LABELS, regions=REGIONS), LOGITS[:, :2]
    assert cross_entropy(two, regions, batch_dice=True).item() == pytest.approx(-np.log(right).mean(), abs=1e-6)
    expected = -((1 - right) ** 2 * np.log(right)).mean()
    assert focal(two, regions, batch_dice=True).item() == pytest.approx(expected, abs=1e-6)


def test_dice_and_tversky_equal_their_formulas() -> None:
    p, y = softmax()
    plain = Target.from_labels(LABELS)
    expected = ratio(p[:, 1:], y[:, 1:], 0.5, 0.5).mean()
    assert -dice(LOGITS, plain, batch_dice=False).item() == pytest.approx(expected, abs=1e-6)
    expected = ratio(p[:, 1:], y[:, 1:], 0.3, 0.7).mean()
    assert -tversky(LOGITS, plain, batch_dice=False).item() == pytest.approx(expected, abs=1e-6)
    pooled = [values[:, 1:].swapaxes(0, 1).reshape(1, 2, -1, 1, 1) for values in (p, y)]
    expected = ratio(*pooled, 0.3, 0.7).mean()
    assert -tversky(LOGITS, plain, batch_dice=True).item() == pytest.approx(expected, abs=1e-6)

    right, members = sigmoid()
    expected = ratio(np.where(members, right, 1 - right), members, 0.3, 0.7).mean()
    regions = Target.from_labels(LABELS, regions=REGIONS)
    assert -tversky(LOGITS[:, :2], regions, batch_dice=False).item() == pytest.approx(expected, abs=1e-6)


# nnU-Net v2.8.1's DC_and_topk_loss with k = 10 of these tensors, in double precision.
@pytest.mark.parametrize(
    ("batch", "plain", "ignoring"),
    [(True, 2.3564337574481047, 2.2717237122517724), (False, 2.356416710519699, 2.2707287021142144)],
)
def test_top_k_equals_nnunets(batch: bool, plain: float, ignoring: float) -> None:
    labels, ignored = Target.from_labels(LABELS), Target.from_labels(IGNORED, ignore=3)
    assert dice_top_k_cross_entropy(LOGITS, labels, batch_dice=batch).item() == pytest.approx(plain, abs=1e-6)
    assert dice_top_k_cross_entropy(LOGITS, ignored, batch_dice=batch).item() == pytest.approx(ignoring, abs=1e-6)


def test_top_k_of_regions_takes_the_hardest_voxels_of_all_regions() -> None:
    right, _ = sigmoid()
    hardest = np.sort(-np.log(right).ravel())[-right.size // 10 :].mean()
    target = Target.from_labels(LABELS, regions=REGIONS)
    found = dice_top_k_cross_entropy(LOGITS[:, :2], target, batch_dice=True)
    assert (found - dice(LOGITS[:, :2], target, batch_dice=True)).item() == pytest.approx(hardest, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("regions", [(), REGIONS])
def test_a_perfect_prediction_is_the_minimum_and_ignored_voxels_do_not_count(name: str, regions: tuple) -> None:
    loss = plugins.resolve("loss", name)
    target = Target.from_labels(IGNORED, ignore=3, regions=regions)
    perfect = (target.one_hot() if regions else target.labels == torch.arange(3).view(1, 3, 1, 1, 1)) * 200.0 - 100
    least = -1.0 if "dice" in name or name == "tversky" else 0.0
    assert loss(perfect, target, batch_dice=True).item() == pytest.approx(least, abs=1e-4)

    logits = LOGITS[:, : perfect.shape[1]].clone().requires_grad_()
    loss(logits, target, batch_dice=False).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert not logits.grad[0, :, :2].any()
    assert logits.grad[0, :, 2:].any()
    assert loss(logits, target, batch_dice=False).item() > least


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_annotation_is_finite_and_has_no_gradient(name: str) -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = plugins.resolve("loss", name)(
        logits, Target.from_labels(torch.full_like(LABELS, 3), ignore=3), batch_dice=True
    )
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_mean_counts_what_the_mask_leaves() -> None:
    values = torch.arange(12.0).reshape(2, 2, 3)
    mask = torch.tensor([[[True, False, False]], [[False, False, True]]])
    target = Target(torch.zeros(2, 1, 3, dtype=torch.int64))
    assert target.mean(values).item() == pytest.approx(5.5)
    assert target.mean(values, mask).item() == pytest.approx((0 + 3 + 8 + 11) / 4)
    assert target.mean(values, mask & False).item() == 0
