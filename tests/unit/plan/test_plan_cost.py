"""Costs against networks that were really built.

Parameters and feature map elements are those of nnU-Net v2.8.1's networks (dynamic_network_architectures:
`sum(p.numel())` and `compute_conv_feature_map_size`); multiply-adds are half of what torch 2.13's `FlopCounterMode`
counts in their forward pass; kept bytes are the storages that autograd saves in it (`saved_tensors_hooks`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError
from autoseg.networks.unet_layers import feature_map_elements, feature_map_sizes
from autoseg.plan.cost import TRAINING_PASSES, multiply_adds, parameters, receptive_field
from autoseg.plan.layers import input_channels, layers_of
from autoseg.plan.memory import training_memory
from autoseg.plan.record import ConfigurationPlan

Make = Callable[..., ConfigurationPlan]


@dataclass(frozen=True)
class Measured:
    """A network of nnU-Net's, and what was measured of it."""

    network: str
    shape: dict[str, Any]
    channels: int
    outputs: int
    parameters: int
    elements: int
    multiply_adds: int
    multiply_adds_deep: int
    kept_bytes: int


def flat(stages: int) -> tuple[tuple[int, ...], ...]:
    return ((3, 3),) * stages


MEASURED = (
    Measured(
        "plain-unet",
        {
            "patch": (16, 32, 32),
            "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
            "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3)),
            "features": (8, 16, 32),
            "blocks": (2, 2, 2),
            "decoder": (2, 2),
        },
        2, 3, 80214, 1064960, 193331200, 193527808, 8259456,
    ),
    Measured(
        "residual-encoder-unet",
        {
            "patch": (16, 32, 32),
            "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
            "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
            "features": (8, 16, 24, 24),
            "blocks": (1, 3, 4, 6),
            "decoder": (1, 1, 1),
        },
        2, 3, 402177, 1449472, 346439680, 346673152, 11182144,
    ),
    Measured(
        "plain-unet",
        {
            "patch": (64, 96),
            "strides": ((1, 1), (2, 2), (2, 2), (2, 2)),
            "kernels": flat(4),
            "features": (8, 16, 32, 64),
            "blocks": (2, 2, 2, 2),
            "decoder": (2, 2, 2),
        },
        3, 4, 121756, 466944, 55197696, 55345152, 3616896,
    ),
    Measured(
        "residual-encoder-unet",
        {
            "patch": (64, 64),
            "strides": ((1, 1), (2, 2), (2, 1)),
            "kernels": flat(3),
            "features": (8, 16, 32),
            "blocks": (1, 3, 4),
            "decoder": (1, 1),
        },
        1, 2, 92324, 466944, 64323584, 64356352, 3626240,
    ),
)  # fmt: skip


@pytest.fixture(params=MEASURED, ids=lambda one: f"{one.network}-{len(one.shape['patch'])}d")
def measured(request: pytest.FixtureRequest) -> Measured:
    return request.param


def test_parameters_equal_the_built_network(measured: Measured, configuration: Make) -> None:
    plan = configuration(network=measured.network, **measured.shape)
    assert parameters(plan, measured.channels, measured.outputs) == measured.parameters


def test_elements_equal_nnunet(measured: Measured) -> None:
    shape = measured.shape
    elements = feature_map_elements(
        shape["patch"], shape["strides"], shape["features"], shape["blocks"], shape["decoder"], measured.outputs,
        residual=measured.network == "residual-encoder-unet",
    )  # fmt: skip
    assert elements == measured.elements


def test_elements_of_nnunets_reference_networks() -> None:
    # the numbers that nnU-Net v2.8.1 states beside its residual-encoder planner, for 3 outputs; they are of networks
    # with deep supervision, so the four and five smaller heads are taken off
    blocks = (1, 3, 4, 6, 6, 6, 6)
    volume = ((1, 1, 1),) + ((2, 2, 2),) * 5
    sheet = ((1, 1),) + ((2, 2),) * 6
    heads_3d = 3 * sum(edge**3 for edge in (64, 32, 16, 8))
    heads_2d = 3 * sum(edge**2 for edge in (256, 128, 64, 32, 16))
    features_3d, features_2d = (32, 64, 128, 256, 320, 320), (32, 64, 128, 256, 512, 512, 512)
    elements_3d = feature_map_elements((128,) * 3, volume, features_3d, blocks[:6], (1,) * 5, 3, residual=True)
    elements_2d = feature_map_elements((512,) * 2, sheet, features_2d, blocks, (1,) * 6, 3, residual=True)
    assert elements_3d == 558319104 - heads_3d
    assert elements_2d == 129793792 - heads_2d


def test_multiply_adds_equal_the_flop_counter(measured: Measured, configuration: Make) -> None:
    deep = configuration(network=measured.network, batch_size=3, **measured.shape)
    shallow = deep.with_(deep_supervision=False)
    passes = 3 * TRAINING_PASSES
    assert multiply_adds(deep, measured.channels, measured.outputs) == passes * measured.multiply_adds_deep
    assert multiply_adds(shallow, measured.channels, measured.outputs) == passes * measured.multiply_adds


def test_memory_holds_what_autograd_keeps(measured: Measured, configuration: Make) -> None:
    plan = configuration(network=measured.network, deep_supervision=False, **measured.shape)
    states = 3 * 4 * measured.parameters
    voxels = torch.Size(measured.shape["patch"]).numel()
    loss = 4 * 4 * voxels * measured.outputs
    layers = layers_of(plan, measured.channels, measured.outputs)
    peak = 3 * 4 * max(layer.elements for layer in layers)
    estimate = training_memory(plan, measured.channels, measured.outputs, mixed_precision=False)
    assert estimate - states - loss - peak == pytest.approx(measured.kept_bytes, rel=0.003)


def test_memory_grows_with_the_batch_and_shrinks_with_the_precision(configuration: Make) -> None:
    plan = configuration(network="plain-unet", **MEASURED[0].shape)
    one, two, three = (training_memory(plan.with_(batch_size=size), 1, 2) for size in (1, 2, 3))
    assert three - two == two - one > 0
    assert one < training_memory(plan, 1, 2, mixed_precision=False)


@pytest.mark.parametrize("measured_network", MEASURED[:1] + MEASURED[2:], ids=lambda one: one.network)
def test_receptive_field_is_what_a_bottleneck_voxel_depends_on(measured_network: Measured, configuration: Make) -> None:
    shape = {**measured_network.shape, "blocks": tuple(min(2, count) for count in measured_network.shape["blocks"])}
    plan = configuration(network=measured_network.network, **shape)
    assert receptive_field(plan) == _support(plan)


def _support(plan: ConfigurationPlan) -> tuple[int, ...]:
    """Extent of the input that the middle bottleneck voxel's gradient reaches, all weights being one."""
    kind = nn.Conv2d if plan.dimension == 2 else nn.Conv3d
    layers: list[nn.Module] = []

    def add(kernel: tuple[int, ...], stride: tuple[int, ...] | int) -> None:
        convolution = kind(1, 1, kernel, stride, [edge // 2 for edge in kernel], bias=False)
        nn.init.ones_(convolution.weight)
        layers.append(convolution.double())

    residual = plan.network == "residual-encoder-unet"
    if residual:
        add(plan.kernel_sizes[0], 1)
    for kernel, stride, blocks in zip(plan.kernel_sizes, plan.strides, plan.blocks_per_stage, strict=True):
        for index in range(blocks * (2 if residual else 1)):
            add(kernel, stride if index == 0 else 1)
    image = torch.zeros((1, 1) + (192,) * plan.dimension if plan.dimension == 2 else (1, 1, 64, 64, 64))
    image = image.double().requires_grad_()
    deep = nn.Sequential(*layers)(image)
    deep[(0, 0, *(edge // 2 for edge in deep.shape[2:]))].backward()
    assert image.grad is not None
    touched = image.grad[0, 0].nonzero()
    return tuple((touched.max(0).values - touched.min(0).values + 1).tolist())


def test_feature_maps_shrink_by_the_strides(configuration: Make) -> None:
    plan = configuration(**MEASURED[0].shape)
    assert feature_map_sizes(plan) == ((16, 32, 32), (16, 16, 16), (8, 8, 8))


def test_cascade_adds_a_channel_for_every_foreground_label(configuration: Make) -> None:
    labels = LabelScheme(names={"background": 0, "liver": 1, "tumour": 4}, ignore=7)
    plan = configuration(**MEASURED[0].shape)
    assert input_channels(plan, 2, labels) == 2
    assert input_channels(plan.with_(previous_stage="3d_lowres"), 2, labels) == 4


def test_unknown_network_is_refused_by_name(configuration: Make) -> None:
    plan = configuration(network="no-such-net", **MEASURED[0].shape)
    with pytest.raises(ConfigurationError, match="unknown network 'no-such-net'"):
        parameters(plan, 1, 2)
