"""Convolutions as matrix products against the layers whose place they take."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from autoseg.networks.blocks import convolution, upsampling
from autoseg.networks.products import project, upsample

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def _features(*shape: int) -> Tensor:
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return features.contiguous(memory_format=LAYOUTS[len(shape)])


def _refuse(*_: object) -> None:
    raise AssertionError("the layer itself was called")


def _gradients(result: Tensor, features: Tensor, layer: nn.Module) -> tuple[Tensor, ...]:
    weights = 1.5 + torch.cos(torch.arange(result.numel()))  # of one sign: sums that cancel have no relative precision
    weights = weights.reshape(result.shape).to(result.dtype)
    return torch.autograd.grad((result * weights).sum(), (features, *layer.parameters()))


@pytest.mark.parametrize("size", [(3, 5), (2, 3, 5)])
def test_a_projection_equals_the_convolution_and_keeps_the_layout(size: tuple[int, ...]) -> None:
    one = (1,) * len(size)
    layer = convolution(len(size), 7, 3, one, one)
    features = _features(2, 7, *size).requires_grad_()
    expected = layer(features.detach().contiguous())
    reference = _gradients(layer(features), features, layer)
    layer.register_forward_pre_hook(_refuse)
    result = project(layer, features)
    assert result.is_contiguous(memory_format=LAYOUTS[features.ndim])
    torch.testing.assert_close(result, expected)
    for found, known in zip(_gradients(result, features, layer), reference, strict=True):
        torch.testing.assert_close(found, known)


@pytest.mark.parametrize(("size", "stride"), [((3, 5), (2, 2)), ((2, 3, 5), (2, 2, 2)), ((2, 3, 5), (1, 2, 3))])
def test_an_upsampling_equals_the_transposed_convolution(size: tuple[int, ...], stride: tuple[int, ...]) -> None:
    layer = upsampling(len(size), 6, 4, stride)
    exact = copy.deepcopy(layer)
    layer = layer.bfloat16()
    exact.load_state_dict(layer.state_dict())  # the rounded weights, in single precision
    half = _features(2, 6, *size).bfloat16().requires_grad_()
    single = half.detach().float().requires_grad_()
    layer.register_forward_pre_hook(_refuse)
    result, expected = upsample(layer, half), exact(single)
    assert result.shape == (2, 4, *(n * s for n, s in zip(size, stride, strict=True)))
    assert result.is_contiguous(memory_format=LAYOUTS[half.ndim])
    torch.testing.assert_close(result.float(), expected, rtol=1e-2, atol=1e-2)
    gradients = zip(_gradients(result, half, layer), _gradients(expected, single, exact), strict=True)
    for found, known in gradients:
        assert float((found.float() - known).norm() / known.norm()) < 1e-2


def test_other_features_take_the_layers_own_path() -> None:
    head, up = convolution(3, 4, 2, (1, 1, 1), (1, 1, 1)), upsampling(3, 4, 2, (2, 2, 2))
    placed = _features(1, 4, 2, 3, 4)
    contiguous = placed.contiguous()
    assert torch.equal(project(head, contiguous), head(contiguous))
    assert torch.equal(upsample(up, contiguous), up(contiguous))
    assert torch.equal(upsample(up, placed), up(placed))  # single precision has a fast layer
    double = placed.double()
    assert torch.equal(project(head.double(), double), head(double))
