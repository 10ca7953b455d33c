"""What short trainings of tiny networks reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg.tasks.registration.learned.deformations import random_deformation
from autoseg.tasks.registration.learned.fields import compose_flows, warp
from autoseg.tasks.registration.learned.network import RegistrationNetwork, build
from autoseg.tasks.registration.learned.objective import mismatch, objective
from autoseg.tasks.registration.learned.pair_batch import PairBatch
from autoseg.tasks.registration.learned.settings import LearnedPlan

SHAPES = [(24, 24), (12, 16, 12)]


def plan_of(shape: tuple[int, ...], **options: Any) -> LearnedPlan:
    values = {
        "features": (8, 8),
        "levels": 2,
        "correlation_radius": 0,
        "scales": 1,
        "similarity": "ssd",
        "regularization": 0.02,
        **options,
    }
    return LearnedPlan(shape=shape, spacing=(1.0,) * len(shape), **values)


def blob(shape: tuple[int, ...], shift: float) -> Tensor:
    """A smooth ball off the centre along the first axis, (1, 1, *S)."""
    places = torch.meshgrid(*[torch.arange(float(length)) - (length - 1) / 2 for length in shape], indexing="ij")
    squared = (places[0] - shift) ** 2 + sum(place**2 for place in places[1:])
    return torch.exp(-squared / (2 * (min(shape) / 6) ** 2))[None, None]


def blobs(shape: tuple[int, ...]) -> PairBatch:
    fixed, moving = blob(shape, -1.5), blob(shape, 1.5)
    labels = ((image[:, 0] > 0.5).long() for image in (fixed, moving))
    fixed_labels, moving_labels = labels
    return PairBatch(fixed, moving, fixed_labels=fixed_labels, moving_labels=moving_labels)


def train(plan: LearnedPlan, batch_at: Any, steps: int) -> RegistrationNetwork:
    network, measure = build(plan, 1), objective(plan)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for step in range(steps):
        batch = batch_at(step)
        flow = network(batch.fixed, batch.moving, batch.weight)
        back = network(batch.moving, batch.fixed, batch.weight) if plan.inverse_consistency else None
        optimiser.zero_grad()
        measure(flow, batch, swapped=back)[0].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    return network


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        (SHAPES[1], {}),
        (SHAPES[0], {"levels": 1}),
        (SHAPES[0], {"levels": 1, "integration_steps": 0, "folding_weight": 0.01}),
        (SHAPES[1], {"correlation_radius": 1}),
        (SHAPES[0], {"stacks": 2}),
        (SHAPES[1], {"supervision": "labels", "labels": 1}),
        (SHAPES[0], {"inverse_consistency": 1e-3}),
        (SHAPES[0], {"similarity": "ncc", "normalize": True}),
    ],
    ids=str,
)
def test_one_pair_of_shifted_blobs_is_learned(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    plan, batch = plan_of(shape, **options), blobs(shape)
    flow = train(plan, lambda step: batch, 40)(batch.fixed, batch.moving)
    before = (batch.fixed - batch.moving).square().mean()
    assert (batch.fixed - warp(batch.moving, flow.forward)).square().mean() < 0.2 * before
    assert mismatch(flow.forward, batch, 1) < 0.15
    if flow.backward is not None:
        assert (batch.moving - warp(batch.fixed, flow.backward)).square().mean() < 0.3 * before
        there_and_back = compose_flows(flow.forward, flow.backward)
        assert there_and_back.square().mean() < 0.05 * flow.forward.square().mean()


@pytest.mark.parametrize("shape", SHAPES)
def test_known_deformations_are_recovered(shape: tuple[int, ...]) -> None:
    plan = plan_of(shape, supervision="deformations", amplitude=1.0)
    moving = torch.stack([random_deformation(shape, np.random.default_rng(i), amplitude=1.0)[:1] for i in range(2)])
    known = torch.stack([random_deformation(shape, np.random.default_rng(9 + i), amplitude=1.0) for i in range(2)])
    batch = PairBatch(warp(moving, known), moving, known_flow=known)
    flow = train(plan, lambda step: batch, 40)(batch.fixed, batch.moving)
    assert (flow.forward - known).square().mean() < 0.3 * known.square().mean()


def test_the_weight_given_to_a_conditioned_network_smooths_its_flow() -> None:
    shape = (32, 32)
    plan, one = plan_of(shape, hyper_range=(0.003, 3.0)), blobs(shape)
    weights = torch.tensor([0.003, 3.0])
    batch = PairBatch(one.fixed.expand(2, 1, *shape), one.moving.expand(2, 1, *shape), weight=weights)
    network = train(plan, lambda step: batch, 60)
    flow = network(batch.fixed, batch.moving, weights).forward
    rough, smooth = (field.diff(dim=1).square().mean() for field in flow)
    assert smooth < 0.5 * rough
