"""The loss of registration networks: its terms against values known otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg import plugins
from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.learned.deformations import random_deformation
from autoseg.tasks.registration.learned.fields import Flow, flow_of, resize_flow, warp
from autoseg.tasks.registration.learned.objective import mismatch, objective
from autoseg.tasks.registration.learned.pair_batch import PairBatch
from autoseg.tasks.registration.learned.settings import LearnedPlan
from autoseg.tasks.registration.regularizers import bending_energy, diffusion

SHAPES = [(32, 24), (16, 12, 20)]
SIMILARITIES = [name for name in plugins.names("similarity") if name != "mine"]


def plan_of(shape: tuple[int, ...], **options: Any) -> LearnedPlan:
    values = {"features": (4, 4), "levels": 1, "scales": 1, **options}
    return LearnedPlan(shape=shape, spacing=(1.0,) * len(shape), **values)


def textures(shape: tuple[int, ...], batch: int = 2) -> Tensor:
    return torch.cat([random_deformation(shape, np.random.default_rng(i), amplitude=1.0)[:1] for i in range(batch)])[
        :, None
    ]


def flow_by(velocity: Tensor, shape: tuple[int, ...], steps: int = 5) -> Flow:
    return flow_of([velocity], steps, shape)


def velocity_of(shape: tuple[int, ...], batch: int = 2, amplitude: float = 1.0) -> Tensor:
    half = tuple(length // 2 for length in shape)
    return torch.stack(
        [random_deformation(half, np.random.default_rng(9 + i), amplitude=amplitude) for i in range(batch)]
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SIMILARITIES)
def test_every_similarity_prefers_the_right_flow_and_has_a_gradient(name: str, shape: tuple[int, ...]) -> None:
    moving = textures(shape)
    velocity = velocity_of(shape)
    right, wrong = flow_by(velocity, shape), flow_by(-velocity, shape)
    batch = PairBatch(warp(moving, right.forward), moving)
    measure = objective(plan_of(shape, similarity=name, regularization=0.0, both_directions=False, scales=2))
    identity = flow_by(torch.zeros_like(velocity).requires_grad_(True), shape)
    still = measure(identity, batch)[0]
    assert measure(right, batch)[0] < still < measure(wrong, batch)[0]
    still.backward()
    gradient = identity.velocities[0].grad
    assert gradient is not None
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0


def test_coarse_resolutions_are_judged_by_coarse_levels() -> None:
    shape = (32, 24)
    moving, velocity = textures(shape), velocity_of(shape)
    coarse = resize_flow(velocity, (8, 6))
    right = flow_by(velocity, shape)
    batch = PairBatch(warp(moving, right.forward), moving)
    still = replace(right, levels=(coarse * 0,))
    half_right, all_right = right, replace(right, levels=(coarse,))
    measure = objective(plan_of(shape, similarity="ssd", scales=2))
    (_, wrong), (_, alone), (_, good) = (measure(flow, batch) for flow in (still, half_right, all_right))
    torch.testing.assert_close(wrong["dissimilarity"], good["dissimilarity"])
    assert good["coarse"] < 0.5 * wrong["coarse"]
    assert alone["coarse"] < 0.5 * wrong["coarse"]
    assert good["roughness"] > wrong["roughness"]


def test_both_directions_are_the_mean_of_a_pair_and_its_swap() -> None:
    shape = (32, 24)
    velocity, (fixed, moving) = velocity_of(shape), (textures(shape), textures(shape).flip(0))
    flow, batch = flow_by(velocity, shape), PairBatch(fixed, moving)
    one_way, both_ways = (objective(plan_of(shape, both_directions=both, regularization=0.0)) for both in (False, True))
    assert flow.backward is not None
    swapped = one_way(replace(flow, forward=flow.backward), batch.swapped())[0]
    torch.testing.assert_close(both_ways(flow, batch)[0], (one_way(flow, batch)[0] + swapped) / 2)


@pytest.mark.parametrize("name", ["local-ncc", "ssd"])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_lies_outside_of_the_fields_of_view_has_no_influence(name: str, shape: tuple[int, ...]) -> None:
    fixed, moving = textures(shape), textures(shape).flip(0)
    mask = torch.zeros(2, *shape, dtype=torch.bool)
    mask[(..., *[slice(2, -2)] * len(shape))] = True
    measure = objective(
        plan_of(shape, similarity=name, both_directions=False, detail=0.0, scales=1, regularization=0.0)
    )
    flow = flow_by(torch.zeros(2, len(shape), *(length // 2 for length in shape)), shape)
    disturbed = torch.where(mask[:, None], fixed, 50.0)
    expected = measure(flow, PairBatch(fixed, moving, mask, mask))[0]
    torch.testing.assert_close(
        measure(flow, PairBatch(disturbed, moving, mask, mask))[0], expected, atol=1e-4, rtol=1e-4
    )

    moved = warp(moving, flow.forward).requires_grad_(True)
    measure(flow, PairBatch(fixed, moved, torch.ones_like(mask), mask))[0].backward()
    assert moved.grad is not None
    assert moved.grad[:, 0][mask].abs().max() > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_overlap_of_boxes(shape: tuple[int, ...]) -> None:
    labels = torch.zeros(1, *shape, dtype=torch.int64)
    labels[:, 4:8] = 1
    still = torch.zeros(1, len(shape), *shape)
    assert float(mismatch(still, PairBatch(still, still, fixed_labels=labels, moving_labels=labels), 1)) < 1e-6
    shifted = PairBatch(still, still, fixed_labels=labels, moving_labels=labels.roll(2, 1))
    assert float(mismatch(still, shifted, 1)) == pytest.approx(0.5, abs=1e-6)
    back = still.clone()
    back[:, 0] = 2
    assert float(mismatch(back, shifted, 1)) < 1e-6
    # a second label that neither image has counts as matched; one that only one image has does not
    assert float(mismatch(still, shifted, 2)) == pytest.approx(0.25, abs=1e-6)
    alone = replace(shifted, moving_labels=torch.where(labels == 1, 2, 0))
    assert float(mismatch(still, alone, 2)) == pytest.approx(1.0, abs=1e-5)
    # an ignored region is not a label
    ignored = replace(shifted, fixed_labels=torch.where(labels == 0, -1, labels))
    assert float(mismatch(still, ignored, 1)) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(("name", "regularizer"), [("diffusion", diffusion), ("bending-energy", bending_energy)])
def test_roughness_is_the_regularizer_of_the_velocities(name: str, regularizer: Any) -> None:
    shape = (16, 12, 20)
    velocities = velocity_of(shape), velocity_of(shape).flip(0)
    flow, batch = flow_of(velocities, 5, shape), PairBatch(textures(shape), textures(shape))
    plan = plan_of(shape, regularizer=name, regularization=0.5, stacks=2)
    loss, terms = objective(plan)(flow, batch)
    rough = torch.tensor([sum(float(regularizer(field[i], (1, 1, 1))) for field in velocities) for i in range(2)])
    torch.testing.assert_close(terms["roughness"], rough.mean())
    torch.testing.assert_close(loss, terms["dissimilarity"] + 0.5 * rough.mean())
    weight = torch.tensor([0.1, 2.0])
    drawn, _ = objective(plan.with_(hyper_range=(0.1, 2.0)))(flow, replace(batch, weight=weight))
    torch.testing.assert_close(drawn, terms["dissimilarity"] + (weight * rough).mean())


def test_inverse_error_of_a_flow_and_its_inverse_is_small() -> None:
    shape = (32, 24)
    velocity, batch = velocity_of(shape), PairBatch(textures(shape), textures(shape))
    flow, inverse = flow_by(velocity, shape, steps=7), flow_by(-velocity, shape, steps=7)
    measure = objective(plan_of(shape, inverse_consistency=1.0))
    right, same = measure(flow, batch, swapped=inverse)[1], measure(flow, batch, swapped=flow)[1]
    assert right["inverse"] < 0.02 * same["inverse"]
    with pytest.raises(ConfigurationError, match="swapped"):
        measure(flow, batch)


def test_known_deformations_and_folding_are_measured_in_voxels() -> None:
    shape = (32, 24)
    images, still = textures(shape), torch.zeros(2, 2, *shape)
    known = still.clone()
    known[:, 0] = 3
    batch = PairBatch(images, images, known_flow=known)
    plan = plan_of(shape, supervision="deformations")
    assert objective(plan)(flow_by(velocity_of(shape) * 0, shape), batch)[1]["deformation"] == pytest.approx(9.0)
    folded = still.clone()
    folded[:, 0] = -2 * torch.arange(32.0)[:, None]  # a mirrored axis: determinant -1 everywhere
    terms = objective(plan.with_(folding_weight=1.0))(Flow(folded, None, (still,)), batch)[1]
    assert terms["folding"] == pytest.approx(1.0)


def test_surrounding_precision_does_not_change_the_loss() -> None:
    shape = (32, 24)
    labels = (textures(shape)[:, 0] > 0).long()
    flow = flow_by(velocity_of(shape), shape)
    batch = PairBatch(textures(shape), textures(shape).flip(0), fixed_labels=labels, moving_labels=labels.flip(0))
    measure = objective(plan_of(shape, supervision="labels", labels=1))
    expected = measure(flow, batch)[0]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(measure(flow, batch)[0], expected)


def test_what_is_missing_is_said() -> None:
    shape = (32, 24)
    flow, batch = flow_by(velocity_of(shape), shape), PairBatch(textures(shape), textures(shape))
    with pytest.raises(ConfigurationError, match="fixed_labels"):
        objective(plan_of(shape, supervision="labels", labels=1))(flow, batch)
    with pytest.raises(ConfigurationError, match="known_flow"):
        objective(plan_of(shape, supervision="deformations"))(flow, batch)
    with pytest.raises(ConfigurationError, match="learns while it is used"):
        objective(plan_of(shape, similarity="mine"))
