"""Batched flows: warping, integration, composition, resizing, and random deformations, in 2D and 3D."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg.tasks.registration.learned.deformations import random_deformation
from autoseg.tasks.registration.learned.fields import compose_flows, flow_of, integrate, resize_flow, warp
from autoseg.tasks.registration.space import Grid, sample_index
from autoseg.tasks.registration.transforms.fields import jacobian_determinant

SHAPES = [(14, 10), (8, 10, 12)]


def smooth_field(shape: tuple[int, ...], amplitude: float, seed: int = 0) -> Tensor:
    return random_deformation(shape, np.random.default_rng(seed), amplitude=amplitude)[None]


@pytest.mark.parametrize("shape", SHAPES)
def test_warping_looks_up_what_the_single_image_sampler_looks_up(shape: tuple[int, ...]) -> None:
    images = torch.rand(2, 3, *shape)
    flow = 3 * torch.randn(2, len(shape), *shape)
    grid = Grid(shape, tuple(map(tuple, np.eye(len(shape)).tolist())), (0.0,) * len(shape))
    for mode in ("linear", "nearest"):
        warped = warp(images, flow, mode)
        for image, field, got in zip(images, flow, warped, strict=True):
            expected = sample_index(image, grid.index(image) + field.movedim(0, -1), mode=mode)
            torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)


def test_nearest_keeps_labels_and_rounds_halves_up() -> None:
    labels = torch.arange(6).reshape(1, 1, 1, 6)
    flow = torch.zeros(1, 2, 1, 6)
    flow[:, 1] = 0.5
    warped = warp(labels, flow, "nearest")
    assert warped.dtype == labels.dtype
    assert warped.flatten().tolist() == [1, 2, 3, 4, 5, 5]


def test_a_flow_that_is_no_number_leaves_voxels_where_they_are() -> None:
    image = torch.rand(1, 1, 5, 5)
    torch.testing.assert_close(warp(image, torch.full((1, 2, 5, 5), torch.nan)), image)


@pytest.mark.parametrize("shape", SHAPES)
def test_integration_of_a_constant_velocity_is_a_translation(shape: tuple[int, ...]) -> None:
    velocity = torch.full((1, len(shape), *shape), 0.7)
    torch.testing.assert_close(integrate(velocity, 5), velocity)
    torch.testing.assert_close(integrate(velocity, 0), velocity)


def test_integration_of_a_linear_velocity_is_the_exponential() -> None:
    # u' = a x from x grows to x e^a; inside the grid linear interpolation is exact for linear fields
    place = torch.arange(33.0) - 16
    velocity = torch.stack((0.3 * place[:, None].expand(33, 33), torch.zeros(33, 33)))[None]
    grown = integrate(velocity, 8)[0, 0, 8:25, 0]
    torch.testing.assert_close(grown, place[8:25] * (np.exp(0.3) - 1), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("shape", [(24, 20), (16, 18, 20)])
def test_forward_and_backward_undo_each_other(shape: tuple[int, ...]) -> None:
    flow = flow_of([smooth_field(shape, 1.0), smooth_field(shape, 0.7, seed=1)], 6, shape)
    assert flow.backward is not None
    inside = (..., *[slice(5, -5)] * len(shape))
    for way in (compose_flows(flow.forward, flow.backward), compose_flows(flow.backward, flow.forward)):
        assert way[inside].abs().mean() < 0.05 * flow.forward[inside].abs().mean()


def test_a_stack_takes_the_later_velocity_first() -> None:
    shape = (20, 20)
    first, second = smooth_field(shape, 1.0), smooth_field(shape, 1.0, seed=1)
    image = smooth_field(shape, 1.0, seed=2)[:, :1]
    flow = flow_of([first, second], 5, shape)
    by_turns = warp(warp(image, integrate(first, 5)), integrate(second, 5))
    assert (warp(image, flow.forward) - by_turns).abs().mean() < 0.05 * image.abs().mean()


@pytest.mark.parametrize("shape", SHAPES)
def test_resizing_scales_voxels(shape: tuple[int, ...]) -> None:
    fine = tuple(2 * length for length in shape)
    flow = torch.full((1, len(shape), *shape), 1.5)
    torch.testing.assert_close(resize_flow(flow, fine), torch.full((1, len(shape), *fine), 3.0))
    assert resize_flow(flow, shape) is flow


@pytest.mark.parametrize("shape", [(32, 24), (16, 20, 24)])
def test_random_deformations_are_keyed_smooth_and_of_the_amplitude(shape: tuple[int, ...]) -> None:
    field = smooth_field(shape, 2.0, seed=7)[0]
    torch.testing.assert_close(field, smooth_field(shape, 2.0, seed=7)[0])
    assert not torch.allclose(field, smooth_field(shape, 2.0, seed=8)[0])
    assert 1.0 < float(field.std()) < 3.0
    grid = Grid(shape, tuple(map(tuple, np.eye(len(shape)).tolist())), (0.0,) * len(shape))
    assert (jacobian_determinant(field, grid) > 0).float().mean() > 0.995
