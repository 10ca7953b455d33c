"""Networks that register: identity start, gradients, and every option, in 2D and 3D."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.learned.correlation import correlate, offsets
from autoseg.tasks.registration.learned.fields import warp
from autoseg.tasks.registration.learned.network import RegistrationNetwork, build
from autoseg.tasks.registration.learned.recognition import recognition_loss
from autoseg.tasks.registration.learned.settings import LearnedPlan

SHAPES = [(16, 24), (8, 16, 8)]
OPTIONS: list[dict[str, Any]] = [
    {"levels": 1},
    {"levels": 3},
    {"levels": 2, "normalize": True},
    {"levels": 1, "correlation_radius": 1},
    {"levels": 3, "correlation_radius": 1},
    {"levels": 2, "stacks": 2},
    {"levels": 1, "integration_steps": 0},
    {"levels": 3, "hyper_range": (0.1, 10.0)},
    {"levels": 2, "flow_stride": 1},
]

RECOGNIZING: dict[str, Any] = {"supervision": "labels", "labels": 2, "recognition_weight": 1.0}


def plan_of(shape: tuple[int, ...], **options: Any) -> LearnedPlan:
    return LearnedPlan(
        shape=shape,
        spacing=(1.0,) * len(shape),
        features=(4, 6, 8),
        **{"levels": 3, "correlation_radius": 0, **options},
    )


def pair_of(plan: LearnedPlan, channels: int = 1, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    fixed, moving = torch.randn(2, batch, channels, *plan.shape, generator=generator)
    return fixed, moving


def loud(network: RegistrationNetwork) -> RegistrationNetwork:
    """The network with velocities far from zero, as after training."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if ".heads." in name and weight.ndim > 1:
                weight.mul_(3000)
    return network


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_starts_as_the_identity_and_every_weight_gets_a_gradient(
    shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    plan = plan_of(shape, **options)
    network = build(plan, 2)
    fixed, moving = pair_of(plan, channels=2)
    flow = network(fixed, moving)
    assert flow.forward.shape == (2, len(shape), *shape)
    assert (flow.backward is None) == (plan.integration_steps == 0)
    assert len(flow.velocities) == plan.stacks
    assert len(flow.levels) == plan.levels - 1
    assert flow.forward.abs().max() < 0.02

    loud(network)
    flow = network(fixed, moving, torch.tensor([0.2, 3.0]) if plan.hyper_range else None)
    (flow.forward * torch.randn_like(flow.forward)).sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        # a bias before an instance norm has none but rounding
        assert plan.normalize or weight.grad.abs().max() > 0, name


@pytest.mark.parametrize("shape", SHAPES)
def test_pairs_of_a_batch_do_not_see_each_other(shape: tuple[int, ...]) -> None:
    plan = plan_of(shape, normalize=True, correlation_radius=1)
    network = loud(build(plan, 1))
    fixed, moving = pair_of(plan)
    together = network(fixed, moving).forward
    alone = torch.cat([network(fixed[i : i + 1], moving[i : i + 1]).forward for i in range(2)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_weights_follow_the_seed_and_leave_the_global_generator() -> None:
    plan = plan_of((16, 24))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, same, other = (build(plan, 1, seed=seed).state_dict() for seed in (3, 3, 4))
    torch.testing.assert_close(torch.rand(3), expected)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_it_runs_in_bfloat16_with_flows_in_float32() -> None:
    plan = plan_of((8, 16, 8), correlation_radius=1, stacks=2, hyper_range=(0.1, 1.0))
    network = build(plan, 1)
    fixed, moving = pair_of(plan)
    with torch.autocast("cpu", torch.bfloat16):
        flow = network(fixed, moving, torch.tensor([0.1, 0.5]))
    assert flow.forward.dtype == torch.float32
    assert all(velocity.dtype == torch.float32 for velocity in flow.velocities)


def test_images_of_another_shape_and_weights_that_nobody_reads_are_refused() -> None:
    plan = plan_of((16, 24))
    network = build(plan, 1)
    with pytest.raises(ConfigurationError, match="grid"):
        network(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16))
    with pytest.raises(ConfigurationError, match="regularisation"):
        network(*pair_of(plan), torch.ones(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (15, 24)}, "multiple of 8"),
        ({"spacing": (1.0,)}, "two or three axes"),
        ({"levels": 4}, "4 levels"),
        ({"supervision": "labels"}, "number of labels"),
        ({"hyper_range": (1.0, 0.5)}, "must rise"),
        ({"levls": 1}, "did you mean 'levels'"),
    ],
)
def test_plans_that_fit_no_network_are_refused(changes: dict[str, Any], message: str) -> None:
    values = {"shape": (16, 24), "spacing": (1.0, 1.0), "features": (4, 6, 8), "levels": 3, **changes}
    with pytest.raises(ConfigurationError, match=message):
        LearnedPlan.from_mapping(values)


def test_the_plan_survives_its_file(tmp_path: Any) -> None:
    plan = plan_of((16, 24), hyper_range=(0.1, 2.0), similarity_options={"radius": 3})
    plan.save(tmp_path / "plan.json")
    assert LearnedPlan.load(tmp_path / "plan.json") == plan


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_correlation_is_the_cosine_of_a_brute_force_loop(shape: tuple[int, ...]) -> None:
    fixed, moving = torch.randn(2, 2, 6, *shape, dtype=torch.float64)
    found = correlate(fixed, moving, 1)
    steps = offsets(1, len(shape))
    assert found.shape == (2, 3 ** len(shape), *shape)
    for batch, (channel, step) in product(range(2), enumerate(steps)):
        for place in product(*map(range, shape)):
            partner = tuple(min(max(p + s, 0), n - 1) for p, s, n in zip(place, step, shape, strict=True))
            one, two = fixed[(batch, slice(None), *place)], moving[(batch, slice(None), *partner)]
            expected = functional.cosine_similarity(one, two, dim=0)
            torch.testing.assert_close(found[(batch, channel, *place)], expected, atol=1e-5, rtol=0)


def test_correlation_of_zeros_is_zero_with_a_finite_gradient() -> None:
    fixed = torch.zeros(1, 3, 4, 4, requires_grad=True)
    found = correlate(fixed, torch.zeros(1, 3, 4, 4), 1)
    found.sum().backward()
    assert not found.any()
    assert fixed.grad is not None
    assert torch.isfinite(fixed.grad).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"correlation_radius": 1}, {"levels": 1}, RECOGNIZING], ids=str)
def test_both_ways_is_half_the_difference_of_asking_twice(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    network = loud(build(plan_of(shape, **options), 2)).eval()
    fixed, moving = pair_of(network.plan, channels=2)
    with torch.no_grad():
        there, back, both = network(fixed, moving), network(moving, fixed), network(fixed, moving, both_ways=True)
    expected = (there.velocities[0] - back.velocities[0]) / 2
    assert expected.abs().max() > 0.1
    assert torch.allclose(both.velocities[0], expected, atol=1e-4)
    assert torch.allclose(warp(both.backward, both.forward) + both.forward, torch.zeros(()), atol=2.0)


def test_networks_that_have_no_way_back_are_asked_once() -> None:
    for options in ({"stacks": 2}, {"integration_steps": 0}):
        network = loud(build(plan_of((16, 16), **options), 1)).eval()
        fixed, moving = pair_of(network.plan)
        with torch.no_grad():
            once, both = network(fixed, moving), network(fixed, moving, both_ways=True)
        assert torch.equal(once.forward, both.forward)


@pytest.mark.parametrize("shape", SHAPES)
def test_labels_are_recognized_in_each_image_by_itself(shape: tuple[int, ...]) -> None:
    plan = plan_of(shape, **RECOGNIZING)
    network = loud(build(plan, 1))
    fixed, moving = pair_of(plan)
    flow = network(fixed, moving)
    assert flow.recognized.shape == (4, 3, *shape)
    with torch.no_grad():
        other = network(fixed, torch.zeros_like(moving))
    assert torch.equal(flow.recognized[:2], other.recognized[:2])  # what the fixed images are told does not change

    flow.forward.sum().backward()
    assert all(weight.grad is None for weight in network.recognition.parameters())
    labels = torch.randint(0, 3, (4, *shape), generator=torch.Generator().manual_seed(1))
    recognition_loss(flow.recognized, labels).backward()
    assert all(weight.grad is not None for weight in network.recognition.parameters())


def test_the_loss_of_recognition_is_cross_entropy_and_dice() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
    labels[0, 0, 0] = -1  # counts as background, as does any label that nobody knows
    labels[0, 0, 1] = 7
    share = np.exp(logits.numpy())
    share /= share.sum(axis=1, keepdims=True)
    known = np.where((labels.numpy() == 1) | (labels.numpy() == 2), labels.numpy(), 0)
    entropy = -np.log(np.take_along_axis(share, known[:, None], axis=1)).mean()
    dice = [2 * share[:, k][known == k].sum() / (share[:, k].sum() + (known == k).sum()) for k in (1, 2)]
    assert float(recognition_loss(logits, labels)) == pytest.approx(entropy + 1 - np.mean(dice), abs=1e-5)


def test_recognition_needs_labels_that_supervise() -> None:
    plan = plan_of((16, 16), recognition_weight=1.0)
    assert not plan.recognizes
    assert build(plan, 1).recognition is None
