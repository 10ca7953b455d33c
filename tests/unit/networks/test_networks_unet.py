"""Networks against nnU-Net's: parameter counts and outputs of networks filled with the same numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from autoseg.networks.blocks import ResidualBlock
from autoseg.networks.build import build_network, count_parameters
from autoseg.networks.normalization import InstanceNorm
from autoseg.networks.unet import UNet
from autoseg.plan.record import ConfigurationPlan

# nnU-Net's PlainConvUNet and ResidualEncoderUNet (dynamic_network_architectures 0.4.4) of the plan below, every
# parameter filled by `_fill`, in double precision: parameters, full-resolution logits, half-resolution logits.
REFERENCE = {
    (3, "plain-unet"): (
        6994,
        [0.37170812, 0.35844617, 0.66625532, 0.68444231, -0.18102243],
        [0.69075033, 0.73476737, 0.45173507],
    ),
    (3, "residual-encoder-unet"): (
        14486,
        [0.34506828, 0.3340413, 0.68039912, 0.71780804, -0.17129539],
        [0.67312666, 0.63044309, 0.66577995],
    ),
    (2, "plain-unet"): (
        2530,
        [0.40673656, 0.4307283, 0.68224655, 0.57941013, -0.21805005],
        [0.64083395, 0.42686194, 0.48905433],
    ),
    (2, "residual-encoder-unet"): (
        5174,
        [0.4300904, 0.49336016, 0.69511507, 0.60590802, -0.26848514],
        [0.64797034, 0.37960695, 0.46851035],
    ),
}


def _plan(dimension: int, network: str) -> ConfigurationPlan:
    d = dimension
    return ConfigurationPlan(
        spacing=(1.0,) * d,
        median_shape=(8.0,) * d,
        patch_size=(8,) * d,
        batch_size=1,
        network=network,
        strides=((1,) * d, (1,) + (2,) * (d - 1), (2,) * d),
        kernel_sizes=((1,) + (3,) * (d - 1), (3,) * d, (3,) * d),
        features_per_stage=(4, 6, 8),
        blocks_per_stage=(2, 2, 1) if network == "plain-unet" else (1, 2, 2),
        decoder_blocks_per_stage=(2, 1),
        normalization=("none", "none"),
        use_mask_for_norm=(False, False),
        batch_dice=False,
    )


def _network(dimension: int, name: str, seed: int = 0) -> UNet:
    network = build_network(_plan(dimension, name), 2, 3, seed=seed)
    assert isinstance(network, UNet)
    return network


def _fill(network: nn.Module) -> None:
    with torch.no_grad():
        for weight in network.parameters():
            wave = torch.sin(torch.arange(weight.numel(), dtype=torch.float64) * 1.7 + 0.3) * 0.5
            weight.copy_(wave.reshape(weight.shape).float())


def _image(*shape: int) -> torch.Tensor:
    return torch.cos(torch.arange(math.prod(shape), dtype=torch.float64) * 0.37).reshape(shape).float()


@pytest.mark.parametrize(("dimension", "name"), REFERENCE)
def test_outputs_equal_nnunets(dimension: int, name: str) -> None:
    parameters, full, half = REFERENCE[dimension, name]
    network = _network(dimension, name)
    assert count_parameters(network) == parameters
    _fill(network)
    network = network.double()
    network.deep_supervision, network.supervised = True, 2
    shape = (4, 8, 8) if dimension == 3 else (8, 16)
    logits = network(_image(1, 2, *shape).double())
    assert [tuple(level.shape[2:]) for level in logits] == [shape, (4, 4, 4) if dimension == 3 else (8, 8)]
    step = logits[0].numel() // 5
    assert logits[0].flatten()[::step][:5].tolist() == pytest.approx(full, abs=1e-6)
    assert logits[1].flatten()[:3].tolist() == pytest.approx(half, abs=1e-6)


def test_the_lowest_resolution_is_not_computed_because_its_weight_is_zero() -> None:
    network = _network(3, "plain-unet")
    network.deep_supervision = True
    assert len(network(_image(1, 2, 4, 8, 8))) == 1  # of two heads
    network.deep_supervision = False
    assert network(_image(1, 2, 4, 8, 8)).shape == (1, 3, 4, 8, 8)


def test_a_seed_gives_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, third = (_network(3, "plain-unet", seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True))


def test_initial_weights_are_he_normal_and_residual_branches_start_at_zero() -> None:
    network = build_network(_plan(3, "residual-encoder-unet").with_(features_per_stage=(32, 64, 64)), 2, 3, seed=0)
    wide = [m for m in network.modules() if isinstance(m, nn.Conv3d) and m.weight.numel() > 50_000]
    for module in wide:
        fan_in = module.weight[0].numel()
        assert module.weight.std().item() == pytest.approx(math.sqrt(2 / (1 + 1e-4) / fan_in), rel=0.02)
        assert module.bias is None or not module.bias.any()
    blocks = [m for m in network.modules() if isinstance(m, ResidualBlock)]
    assert wide
    assert blocks
    assert not any(block.second.norm.weight.any() for block in blocks)


@pytest.mark.parametrize("shape", [(3, 5, 6, 7), (2, 5, 4, 6, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_channels_last_normalisation_equals_pytorchs(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    norm = InstanceNorm(5).to(dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 5))
        norm.bias.copy_(torch.linspace(-1, 1, 5))
    features = (torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype) * 3 + 1).requires_grad_()
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    inputs = (features, norm.weight, norm.bias)
    expected = nn.functional.instance_norm(features, weight=norm.weight, bias=norm.bias)
    expected_gradients = torch.autograd.grad(expected, inputs, gradient)
    placed = features.detach().contiguous(memory_format=layout).requires_grad_()
    result = norm(placed)
    gradients = torch.autograd.grad(result, (placed, norm.weight, norm.bias), gradient)
    assert result.is_contiguous(memory_format=layout)
    torch.testing.assert_close(result, expected)
    for found, known in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(found, known, rtol=1e-4, atol=1e-4)
