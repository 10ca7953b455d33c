"""A registration network as a transform between two worlds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from registration_runs import ball, learned, plan_of
from torch import Tensor, nn

from autoseg.data.image import Geometry, Image
from autoseg.errors import ConfigurationError, ImageError, RegistrationError
from autoseg.tasks.registration.learned.fields import Flow
from autoseg.tasks.registration.learned.network import build
from autoseg.tasks.registration.learned.settings import LearnedPlan
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.trainer.model import NAMED, RegistrationModel
from autoseg.tasks.registration.transforms import Affine
from autoseg.tasks.registration.warp import warp_labels
from autoseg.training.runtime import Runtime

FLOW = (1.0, -2.0, 0.5)


class Constant(nn.Module):
    """Moves everything by the same voxels."""

    def forward(self, fixed: Tensor, moving: Tensor, weight: Tensor | None = None, *, both_ways: bool = False) -> Flow:
        flow = torch.tensor(FLOW[-(fixed.ndim - 2) :]).reshape(1, -1, *[1] * (fixed.ndim - 2))
        flow = flow.expand(len(fixed), -1, *fixed.shape[2:])
        return Flow(flow, -flow, (flow,))


def model_of(network: LearnedPlan, module: nn.Module | None = None) -> RegistrationModel:
    plan = plan_of(network)
    made = build(network, 1).eval() if module is None else module
    return RegistrationModel(plan, plan.configurations["registration"], network, made, Runtime())


def middle(image: Image) -> Tensor:
    return torch.tensor(Grid.of(image).centre, dtype=torch.float64)


def test_a_fresh_network_lays_middle_on_middle() -> None:
    fixed, _ = ball(0, Geometry(origin=(5.0, 6.0, 7.0)), (14, 17, 18))
    moving, _ = ball(1, Geometry(spacing=(1.5, 0.5, 1.0), origin=(-40.0, 3.0, 0.0)), (10, 30, 16))
    result = model_of(learned()).register(fixed, moving, instance_iterations=0)
    away = result.transform(middle(fixed)) - middle(moving)
    assert float(away.abs().max()) < 1.1  # half a voxel of either grid, and what untrained weights say
    assert [stage.name for stage in result.stages] == ["network"]
    assert not result.warnings


@pytest.mark.parametrize("flipped", [False, True])
def test_voxels_of_the_flow_are_mm_along_each_images_own_axes(flipped: bool) -> None:
    """Both images lie otherwise in the world; the flow is one voxel of the network's grid, 1 mm, along world axes."""
    sign = -1.0 if flipped else 1.0
    turned = Geometry(origin=(20.0, 0.0, 30.0), direction=((1.0, 0.0, 0.0), (0.0, sign, 0.0), (0.0, 0.0, sign)))
    fixed, _ = ball(0, Geometry(spacing=(2.0, 0.5, 1.0)), (7, 34, 18))
    moving, _ = ball(1, turned, (14, 17, 18))
    result = model_of(learned(), Constant()).register(fixed, moving, instance_iterations=0)
    found = result.transform(middle(fixed)) - middle(moving)
    nothing = model_of(learned()).on_grid(fixed, moving).linear(middle(fixed)) - middle(moving)
    assert (found - nothing).tolist() == pytest.approx(FLOW, abs=1e-4)


def test_a_given_linear_map_is_where_the_network_starts() -> None:
    fixed, _ = ball(0)
    moving = Image(fixed.array, Geometry(origin=(3.0, -4.0, 5.0)))
    shift = Affine(
        torch.eye(3, dtype=torch.float64), torch.tensor([3.0, -4.0, 5.0], dtype=torch.float64), torch.zeros(3)
    )
    model = model_of(learned(), Constant())
    on_grid = model.on_grid(fixed, moving, shift)
    assert torch.allclose(on_grid.batch.fixed, on_grid.batch.moving, atol=1e-5)
    points = torch.tensor([[4.0, 5.0, 6.0]], dtype=torch.float64)
    expected = points + torch.tensor([3.0, -4.0, 5.0]) + torch.tensor(FLOW)
    found = model.register(fixed, moving, linear=shift, instance_iterations=0).transform(points)
    assert torch.allclose(found, expected, atol=1e-4)


def test_the_way_back_is_the_inverse_of_the_way_there() -> None:
    network = learned()
    module = build(network, 1).eval()
    with torch.no_grad():
        for head in (weights for name, weights in module.named_parameters() if "heads" in name):
            head.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
    model = model_of(network, module)
    (fixed, _), (moving, _) = ball(0), ball(1)
    there, back = (model.flow(model.on_grid(*pair).batch) for pair in ((fixed, moving), (moving, fixed)))
    assert there.backward is not None
    assert float(there.forward.abs().max()) > 0.1
    torch.testing.assert_close(there.backward, back.forward)


def test_planes() -> None:
    fixed, _ = ball(0, Geometry.plane((0.5, 2.0)), (1, 40, 9))
    moving, _ = ball(1, Geometry.plane(), (1, 17, 18))
    model = model_of(learned(2), Constant())
    start = model.on_grid(fixed, moving).linear(middle(fixed))
    found = model.register(fixed, moving, instance_iterations=0).transform(middle(fixed))
    assert (found - start).tolist() == pytest.approx(FLOW[-2:], abs=1e-4)


def test_images_much_larger_than_the_grid_are_said() -> None:
    large, _ = ball(0, None, (14, 17, 40))
    small, _ = ball(1)
    (warning,) = model_of(learned()).register(large, small).warnings
    assert "fixed image shows 14 x 17 x 40 mm" in warning


def test_optimising_the_pair_is_a_stage_of_its_own() -> None:
    fixed, _ = ball(0)
    moving, _ = ball(1)
    result = model_of(learned()).register(fixed, moving, instance_iterations=3)
    assert [stage.name for stage in result.stages] == ["network", "instance"]
    assert result.stages[1].iterations == 3
    assert result.stages[1].after <= result.stages[1].before


@pytest.mark.parametrize(
    ("options", "compared"),
    [
        ({}, ["correlation", "local-ncc"]),
        ({"supervision": "labels", "labels": 2}, ["correlation"]),
        ({"supervision": "labels", "labels": 2, "recognition_weight": 1.0}, ["correlation", NAMED]),
    ],
)
def test_pairs_are_optimised_by_what_the_network_has_not_used_up(options: dict[str, Any], compared: list[str]) -> None:
    (fixed, _), (moving, _) = ball(0), ball(1)
    result = model_of(learned(**options)).register(fixed, moving)
    assert [stage.similarity for stage in result.stages] == compared


class Naming(nn.Module):
    """Names two boxes, the moving one shifted by two voxels along the last axis, and moves nothing."""

    def forward(self, fixed: Tensor, moving: Tensor, weight: Tensor | None = None, *, both_ways: bool = False) -> Flow:
        logits = torch.zeros(2, 2, *fixed.shape[2:])
        for image, shift in enumerate((0, 2)):
            logits[image, 1, 5:11, 5:11, 5 + shift : 11 + shift] = 8.0
        logits[:, 0] = 4.0
        flow = torch.zeros(1, 3, *fixed.shape[2:])
        return Flow(flow, flow, (flow,), recognized=logits)


def test_updates_lay_named_labels_on_each_other_and_leave_the_rest() -> None:
    plan = learned(supervision="labels", labels=1, recognition_weight=1.0)
    fixed, _ = ball(0, shape=plan.shape)
    result = model_of(plan, Naming()).register(fixed, fixed, instance_iterations=20)
    grid = Grid.of(fixed)
    places = grid.points(torch.zeros((), dtype=torch.float64))
    moved = (result.transform(places) - places).float()
    assert moved[8, 8, 10, 2] == pytest.approx(2.0, abs=0.6)  # a face of the fixed box
    assert moved[0, 0, 0].abs().max() == 0  # far away
    assert result.stages[1].after < 0.5 * result.stages[1].before


def test_optimising_the_pair_brings_together_what_the_network_left_apart() -> None:
    fixed, wanted = ball(0, Geometry(origin=(4.0, -7.0, 20.0)))
    moving, labels = ball(1)
    overlaps = []
    for count in (0, 30):
        found = model_of(learned()).register(fixed, moving, instance_iterations=count).transform
        warped = warp_labels(moving.with_array(labels[None]), found, fixed.geometry, fixed.shape).array[0]
        overlaps.append(((warped > 0) & (wanted > 0)).sum() / ((warped > 0) | (wanted > 0)).sum())
    assert overlaps[1] > overlaps[0] + 0.05


def test_wrong_images_are_refused() -> None:
    model, (volume, _) = model_of(learned()), ball(0)
    plane, _ = ball(0, Geometry.plane(), (1, 17, 18))
    with pytest.raises(RegistrationError, match="moving image has another dimensionality than the model"):
        model.register(volume, plane)
    with pytest.raises(ImageError, match="number of channels"):
        model.register(Image(np.concatenate([volume.array] * 2), volume.geometry), volume)


def test_a_weight_must_be_one_that_the_network_was_trained_for() -> None:
    with pytest.raises(ConfigurationError, match="one regularisation"):
        model_of(learned()).with_regularization(2.0)
    many = model_of(learned(hyper_range=(0.1, 10.0)))
    with pytest.raises(ConfigurationError, match=r"expected: 0.1 to 10"):
        many.with_regularization(20.0)
    assert many.with_regularization(2.0).regularization == 2.0
