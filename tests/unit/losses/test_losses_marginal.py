"""Losses where classes were not looked for: against values by hand, sums written out, and smaller label sets."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg import plugins
from autoseg.losses.compound import dice_binary_cross_entropy, dice_cross_entropy
from autoseg.losses.cross_entropy import cross_entropy
from autoseg.losses.deep_supervision import deep_supervision
from autoseg.losses.marginal import marginal, merged
from autoseg.losses.overlap import SMOOTH
from autoseg.losses.target import Target

Loss = Callable[..., Tensor]
REGIONS = ((1, 2, 3), (2, 3), (3,))
ANNOTATED = torch.tensor([[True, False, True], [False, True, False], [True, True, True]])
NAMES = [name for name in plugins.names("loss") if name != "dice-binary-cross-entropy"]


def batch(outputs: int = 4, *, samples: int = 3) -> tuple[Tensor, Tensor]:
    """Logits, and labels 0..3."""
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn((samples, outputs, 5, 6, 7), generator=generator)
    return logits, torch.randint(0, 4, (samples, 1, 5, 6, 7), generator=generator)


def at(name: str, *, batch_dice: bool) -> Callable[[Tensor, Target], Tensor]:
    loss: Loss = plugins.resolve("loss", name)
    return marginal(lambda logits, target: loss(logits, target, batch_dice=batch_dice))


def test_one_voxel_by_hand() -> None:
    """Odds 3 : 2 : 4 : 1 of background and three labels; the first label was looked for, the voxel has none."""
    logits = torch.tensor([3.0, 2.0, 4.0, 1.0]).log().view(1, 4, 1, 1).requires_grad_()
    target = Target(torch.zeros(1, 1, 1, 1, dtype=torch.int64), annotated=torch.tensor([[True, False, False]]))
    value = marginal(lambda *both: cross_entropy(*both, batch_dice=True))(logits, target)
    assert value.item() == pytest.approx(-math.log(8 / 10), abs=1e-6)  # 3 + 4 + 1 against 2
    (gradient,) = torch.autograd.grad(value, logits)
    # p - q, q being the probabilities of those three among themselves: nothing is said of one against the other
    expected = np.array([0.3, 0.2, 0.4, 0.1]) - np.array([3, 0, 4, 1]) / 8
    np.testing.assert_allclose(gradient.ravel().numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("ignored", [False, True])
def test_the_sums_written_out(batch_dice: bool, ignored: bool) -> None:
    logits, labels = batch()
    mask = torch.rand((3, 1, 5, 6, 7), generator=torch.Generator().manual_seed(2)) > 0.3 if ignored else None
    target = Target(labels if mask is None else labels.where(mask, 0), mask, annotated=ANNOTATED)
    value = at("dice-cross-entropy", batch_dice=batch_dice)(logits, target).item()
    entropies, sums = [], np.zeros((3, 3, 3))  # sums: sample, class, (overlap, prediction, reference)
    for b in range(3):
        for place in np.ndindex(5, 6, 7):
            if mask is not None and not mask[(b, 0, *place)]:
                continue
            odds = np.exp(logits[(b, slice(None), *place)].double().numpy())
            true, looked_for = int(labels[(b, 0, *place)]), [0, *(1 + np.flatnonzero(ANNOTATED[b]))]
            merged_odds = {c: odds[c] for c in looked_for[1:]}
            merged_odds[0] = odds.sum() - sum(merged_odds.values())
            true = true if true in merged_odds else 0
            entropies.append(-np.log(merged_odds[true] / odds.sum()))
            for c in looked_for[1:]:
                p = merged_odds[c] / odds.sum()
                sums[b, c - 1] += (p * (c == true), p, c == true)
    sums = sums.sum(0, keepdims=True) if batch_dice else sums
    ratios = (2 * sums[..., 0] + SMOOTH) / (sums[..., 1] + sums[..., 2] + SMOOTH)
    dice = ratios.mean() if batch_dice else ratios[ANNOTATED.numpy()].mean()
    assert value == pytest.approx(np.mean(entropies) - dice, abs=2e-5)


@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_label_set_costs_what_it_costs_a_network_of_these_labels(name: str, batch_dice: bool) -> None:
    logits, labels = batch()
    looked_for = torch.tensor([[True, False, True]]).expand(3, -1)
    value = at(name, batch_dice=batch_dice)(logits, Target(labels, annotated=looked_for))
    smaller = torch.cat([logits[:, [0, 2]].logsumexp(1, keepdim=True), logits[:, [1, 3]]], dim=1)
    renamed = torch.tensor([0, 1, 0, 2])[labels]
    loss: Loss = plugins.resolve("loss", name)
    assert value.item() == pytest.approx(loss(smaller, Target(renamed), batch_dice=batch_dice).item(), abs=1e-6)


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("name", [n for n in (*NAMES, "dice-binary-cross-entropy") if "top-k" not in n])
def test_regions_that_were_not_looked_for_are_left_out(name: str, batch_dice: bool, ignored: bool) -> None:
    logits, labels = batch(3)
    mask = torch.arange(6).view(1, 1, 1, 6, 1).expand_as(labels) > 1 if ignored else None
    looked_for = torch.tensor([[True, False, True]]).expand(3, -1)
    logits.requires_grad_()
    value = at(name, batch_dice=batch_dice)(logits, Target(labels, mask, REGIONS, annotated=looked_for))
    loss: Loss = plugins.resolve("loss", name)
    smaller = Target(labels, mask, (REGIONS[0], REGIONS[2]))
    assert value.item() == pytest.approx(loss(logits[:, [0, 2]], smaller, batch_dice=batch_dice).item(), abs=1e-5)
    (gradient,) = torch.autograd.grad(value, logits)
    assert not gradient[:, 1].any()
    assert gradient[:, 0].any()


def test_regions_by_hand() -> None:
    """Two samples of one voxel each, one of them looked at for the second region alone."""
    logits = torch.tensor([[0.7, -0.4], [3.0, 1.1]]).view(2, 2, 1, 1)
    target = Target(
        torch.tensor([2, 1]).view(2, 1, 1, 1),
        None,
        ((1, 2), (2,)),
        annotated=torch.tensor([[True, True], [False, True]]),
    )

    def entropy(logit: float, inside: bool) -> float:
        return math.log1p(math.exp(-logit if inside else logit))

    value = marginal(lambda *both: dice_binary_cross_entropy(*both, batch_dice=True))(logits, target).item()
    p = [1 / (1 + math.exp(-logit)) for logit in (0.7, -0.4, 1.1)]
    dice = (2 * p[0] / (p[0] + 1) + 2 * p[1] / (p[1] + p[2] + 1)) / 2
    expected = (entropy(0.7, True) + entropy(-0.4, True) + entropy(1.1, False)) / 3 - dice
    assert value == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_said_of_what_was_not_looked_for(name: str, batch_dice: bool) -> None:
    """Odds may move between the background and the classes that were not looked for, at no cost and with no pull."""
    logits, labels = batch()
    value = at(name, batch_dice=batch_dice)
    target = Target(labels, annotated=ANNOTATED)
    moved = logits.clone()
    moved[0, [0, 2]] = logits[0, [2, 0]]  # sample 0 was not looked at for label 2
    assert value(moved, target).item() == pytest.approx(value(logits, target).item(), abs=1e-5)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(value(logits, target), logits)
    share = logits[0, [0, 2]].detach().softmax(0)
    assert torch.isfinite(gradient).all()
    torch.testing.assert_close(gradient[0, [0, 2]], gradient[0, [0, 2]].sum(0) * share, atol=1e-7, rtol=1e-3)


def test_labels_that_were_not_looked_for_count_as_open() -> None:
    logits, labels = batch()
    open_labels = labels.clone()
    open_labels[0][labels[0] == 2] = 0
    value = at("dice-cross-entropy", batch_dice=False)
    both = [value(logits, Target(own, annotated=ANNOTATED)).item() for own in (labels, open_labels)]
    assert both[0] == both[1]


def test_a_loss_that_uses_every_channel_gets_no_pull_from_those_of_other_classes() -> None:
    """Label smoothing takes the mean of the log-probabilities, also of a class with probability 0."""
    logits, labels = batch(samples=1)
    logits.requires_grad_()
    channels, _ = merged(logits, Target(labels, annotated=ANNOTATED[:1]))
    log_probabilities = torch.log_softmax(channels, dim=1)
    assert torch.isfinite(log_probabilities).all()
    (gradient,) = torch.autograd.grad(log_probabilities[:, 2].sum(), logits)
    assert gradient.abs().max() < 1e-6


@pytest.mark.parametrize("regions", [(), REGIONS])
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_complete_batch_has_the_ordinary_loss(
    name: str, batch_dice: bool, regions: tuple[tuple[int, ...], ...]
) -> None:
    logits, labels = batch(3 if regions else 4)
    loss: Loss = plugins.resolve("loss", name)
    plain = Target(labels, None, regions)
    ordinary = loss(logits, plain, batch_dice=batch_dice)
    assert torch.equal(at(name, batch_dice=batch_dice)(logits, plain), ordinary)
    assert merged(logits, plain)[0] is logits
    said = at(name, batch_dice=batch_dice)(logits, Target(labels, None, regions, annotated=torch.ones(3, 3).bool()))
    assert said.item() == pytest.approx(ordinary.item(), abs=1e-6)


def test_a_class_that_no_sample_was_looked_at_for_is_not_in_the_mean() -> None:
    logits, labels = batch()
    target = Target(labels, annotated=torch.tensor([[True, False, False]] * 2 + [[True, True, False]]))
    value = -at("dice", batch_dice=True)(logits, target).item()
    first, second = (
        -at("dice", batch_dice=True)(logits[part], Target(labels[part], annotated=looked_for)).item()
        for part, looked_for in (
            (slice(0, 3), torch.tensor([[True, False, False]] * 3)), (slice(2, 3), torch.tensor([[False, True, False]]))
        )
    )  # fmt: skip
    assert value == pytest.approx((first + second) / 2, abs=1e-6)


def test_every_resolution_has_the_merged_labels() -> None:
    logits, labels = batch()
    loss = at("dice-cross-entropy", batch_dice=True)
    target = Target(labels, annotated=ANNOTATED)
    value = deep_supervision(loss, ((1, 1, 1), (1, 2, 2)))([logits, logits[..., :3, :3]], target)
    lower = Target(labels[..., 1::2, 1::2], annotated=ANNOTATED)
    expected = 2 / 3 * loss(logits, target) + 1 / 3 * loss(logits[..., :3, :3], lower)
    assert value.item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("batch_dice", [True, False])
def test_half_precision_is_finite(batch_dice: bool) -> None:
    logits, labels = batch()
    logits = (8 * logits).bfloat16().requires_grad_()
    value = marginal(lambda *both: dice_cross_entropy(*both, batch_dice=batch_dice))(
        logits, Target(labels, annotated=ANNOTATED)
    )
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
