"""Gradients of 3D convolutions in mixed precision on a CPU."""

from __future__ import annotations

import pytest
import torch

from autoseg.networks.convolution import Convolution3d


@pytest.mark.parametrize("space", [(2, 3, 2), (2, 5, 5), (1, 4, 4), (3, 3, 3), (4, 2, 2)])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 3, 3)])
def test_gradients_are_those_of_full_precision(space: tuple[int, ...], kernel: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    layer = Convolution3d(32, 32, kernel, padding=tuple(k // 2 for k in kernel))
    plain = torch.nn.Conv3d(32, 32, kernel, padding=tuple(k // 2 for k in kernel))
    plain.load_state_dict(layer.state_dict())
    for _ in range(5):  # the fault shows what lies in memory, so that once proves little
        features = torch.randn(4, 32, *space)
        pull = torch.randn(4, 32, *space)
        layer.zero_grad()
        plain.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            found = layer(features)
        assert found.dtype is torch.bfloat16
        found.backward(pull.bfloat16())
        plain(features).backward(pull)
        assert layer.weight.grad is not None
        assert plain.weight.grad is not None
        torch.testing.assert_close(layer.weight.grad, plain.weight.grad, rtol=0.05, atol=0.5)


def test_in_full_precision_and_without_gradients_nothing_changes() -> None:
    layer, features = Convolution3d(2, 3, 3, padding=1), torch.randn(1, 2, 2, 4, 4)
    plain = torch.nn.Conv3d(2, 3, 3, padding=1)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(features), plain(features))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(features), plain(features))
