from __future__ import annotations

import numpy as np
import pytest
import torch

from autoseg.networks.normalization import InstanceNorm, normalising_over


def reference(features, weight, bias, gradient):
    """Instance normalisation by its definition, and gradients by automatic differentiation, in float64."""
    inputs = [one.detach().double().requires_grad_() for one in (features.contiguous(), weight, bias)]
    features, weight, bias = inputs
    axes = tuple(range(2, features.ndim))
    centred = features - features.mean(axes, keepdim=True)
    normal = centred / (centred.square().mean(axes, keepdim=True) + 1e-5).sqrt()
    shape = (1, -1, *[1] * len(axes))
    result = normal * weight.view(shape) + bias.view(shape)
    result.backward(gradient.double().contiguous())
    return result.detach(), [one.grad for one in inputs]


@pytest.mark.parametrize("layout", ["channels last", "contiguous"])
@pytest.mark.parametrize("offset", [1.0, 30.0])
@pytest.mark.parametrize(
    "shape", [(2, 6, 9, 11, 7), (2, 6, 32, 40, 33), (1, 20, 32, 33, 32), (1, 6, 90, 90, 90), (2, 8, 200, 210)]
)
def test_it_is_the_definition_to_single_precision_however_many_voxels(shape, offset, layout):
    generator = torch.Generator().manual_seed(0)
    norm = InstanceNorm(shape[1])
    with torch.no_grad():
        norm.weight.copy_(torch.rand(shape[1], generator=generator) + 0.5)
        norm.bias.copy_(torch.rand(shape[1], generator=generator))
    form = torch.channels_last_3d if len(shape) == 5 else torch.channels_last
    form = form if layout == "channels last" else torch.contiguous_format
    features = (torch.randn(shape, generator=generator) + offset).contiguous(memory_format=form).requires_grad_()
    gradient = (torch.randn(shape, generator=generator) + 0.1).contiguous(memory_format=form)
    result = norm(features)
    result.backward(gradient)
    wanted, (to_features, to_weight, to_bias) = reference(features.detach(), norm.weight, norm.bias, gradient)
    rounding = 3e-6 * max(1, offset)  # of the features, which carry the offset
    assert (result - wanted).abs().max() < rounding
    assert (features.grad - to_features).abs().max() < rounding
    assert (norm.weight.grad - to_weight).abs().max() < 1e-4 * to_weight.abs().max() + rounding
    assert (norm.bias.grad - to_bias).abs().max() < 1e-4 * to_bias.abs().max()
    if layout == "channels last":
        assert result.is_contiguous(memory_format=form)
        assert features.grad.is_contiguous(memory_format=form)


def test_bfloat16_features_keep_float32_statistics():
    features = (torch.randn(1, 4, 40, 40, 40) + 3).to(torch.bfloat16).contiguous(memory_format=torch.channels_last_3d)
    norm = InstanceNorm(4)
    exact = features.double()
    wanted = (exact - exact.mean((2, 3, 4), keepdim=True)) / exact.std((2, 3, 4), keepdim=True, correction=0)
    result = norm(features)
    assert result.dtype is torch.bfloat16
    assert (result.double() - wanted).abs().max() < 2**-8 * wanted.abs().max()


@pytest.mark.parametrize("slope", [None, 0.01])
@pytest.mark.parametrize("shape", [(2, 6, 9, 11, 7), (1, 20, 32, 33, 32), (2, 8, 200, 210), (1, 1500, 5, 5)])
def test_without_gradients_it_gives_the_same_in_the_memory_of_its_input(shape, slope):
    generator = torch.Generator().manual_seed(1)
    form = torch.channels_last_3d if len(shape) == 5 else torch.channels_last
    norm = InstanceNorm(shape[1])
    with torch.no_grad():
        norm.weight.copy_(torch.rand(shape[1], generator=generator) + 0.5)
        norm.bias.copy_(torch.rand(shape[1], generator=generator))
    features = (torch.randn(shape, generator=generator) + 5).contiguous(memory_format=form)
    wanted = reference(features, norm.weight, norm.bias, torch.ones(shape))[0]
    if slope is not None:
        wanted = torch.nn.functional.leaky_relu(wanted, slope)
    with torch.inference_mode():
        apart = norm(features, slope)
        kept = features.clone()
        result = norm(features, slope, in_place=True)
    assert result.data_ptr() == features.data_ptr()
    assert apart.data_ptr() != features.data_ptr()
    assert torch.equal(kept, features) is False
    assert (apart - wanted).abs().max() < 2e-5
    assert (result - wanted).abs().max() < 2e-5


@pytest.mark.parametrize("slope", [None, 0.01])
@pytest.mark.parametrize("shape", [(2, 3, 8, 12), (2, 3, 4, 8, 12)])
def test_what_does_not_count_is_as_if_it_were_not_there(shape, slope):
    """Each image of the batch equals PyTorch's normalisation of a list of its voxels that count, gradients too."""
    generator = torch.Generator().manual_seed(0)
    norm, grid = InstanceNorm(3), (2, 4, 3)[-len(shape) + 2 :]
    with torch.no_grad():
        norm.weight.copy_(torch.rand(3, generator=generator) + 0.5)
        norm.bias.copy_(torch.rand(3, generator=generator))
    counted = torch.rand(2, *grid, generator=generator) < 0.5
    features = torch.randn(shape, generator=generator, requires_grad=True)
    gradient = torch.randn(shape, generator=generator)
    with normalising_over(norm, counted):
        result = norm(features, slope)
    result.backward(gradient)
    repeats = [length // cells for length, cells in zip(shape[2:], grid, strict=True)]
    places = torch.from_numpy(np.kron(counted.numpy(), np.ones((1, *repeats), bool)))
    listed = features.detach().clone().requires_grad_()
    for number, here in enumerate(places):
        voxels = listed[number][:, here][None]
        wanted = torch.nn.functional.instance_norm(voxels, weight=norm.weight.detach(), bias=norm.bias.detach())
        wanted = wanted if slope is None else torch.nn.functional.leaky_relu(wanted, slope)
        wanted.backward(gradient[number][:, here][None])
        torch.testing.assert_close(result[number][:, here][None], wanted, atol=1e-5, rtol=1e-5)
        assert not result[number][:, ~here].any()
    torch.testing.assert_close(features.grad, listed.grad, atol=1e-5, rtol=1e-5)


def test_after_an_error_everything_counts_again():
    norm, features = InstanceNorm(2), torch.randn(1, 2, 4, 4)
    wanted = norm(features)

    def fail():
        with normalising_over(norm, torch.eye(2, dtype=torch.bool)[None]):
            assert not torch.equal(norm(features), wanted)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(norm(features), wanted)
