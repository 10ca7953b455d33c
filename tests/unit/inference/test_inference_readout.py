"""Features that become logits after everything linear are as good as logits from the start."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from random_runs import configuration
from torch import Tensor, nn

from autoseg.inference.readout import without_heads
from autoseg.inference.rows import WholeLogits, in_memory
from autoseg.inference.sliding_window import Sliding, predict_logits, slide
from autoseg.networks.build import build_network
from autoseg.training.runtime import Runtime


def _networks(outputs: int, count: int, dimension: int = 3) -> list[nn.Module]:
    return [build_network(configuration(dimension), 1, outputs, seed=seed).eval() for seed in range(count)]


class _Opaque(nn.Module):
    """Hides that a network ends in a linear layer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.network(image)
        return result


def _reference(networks: Sequence[nn.Module], image: Tensor, outputs: int, sliding: Sliding) -> Tensor:
    return predict_logits([_Opaque(network) for network in networks], image, outputs, sliding, Runtime())


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("axes", [(), (0, 1)])
def test_logits_are_the_same_and_fewer_channels_are_held(count: int, dimension: int, axes: tuple[int, ...]) -> None:
    networks, image = _networks(20, count, dimension), torch.randn((1, 13, 10, 9))
    sliding = Sliding((8,) * dimension, mirror_axes=axes, batch=4)
    rows = slide(networks, image, 20, sliding, Runtime())
    assert rows.shape == (20, 13, 10, 9)
    whole = in_memory(rows)
    assert whole.held.shape[0] == 4 * count
    torch.testing.assert_close(whole.logits, _reference(networks, image, 20, sliding), rtol=1e-4, atol=1e-5)


def test_as_many_features_as_labels_are_left_alone() -> None:
    assert without_heads(_networks(8, 2), 8) is None
    assert without_heads([_Opaque(network) for network in _networks(20, 1)], 20) is None
    assert without_heads(_networks(9, 2), 9) is not None


def test_the_networks_themselves_stay_as_they_are() -> None:
    (network,) = networks = _networks(20, 1)
    found = without_heads(networks, 20)
    assert found is not None
    (body,), readout = found
    image = torch.randn((1, 1, 8, 8, 8))
    with torch.no_grad():
        assert body(image).shape == (1, 4, 8, 8, 8)
        torch.testing.assert_close(readout(body(image)[0]), network(image)[0], rtol=1e-4, atol=1e-5)
    assert body.encoder is network.encoder  # weights are shared


def test_what_is_held_as_features_gives_its_logits() -> None:
    found = without_heads(_networks(20, 1), 20)
    assert found is not None
    features = torch.randn((4, 5, 3, 2))
    whole = WholeLogits(features, found[1])
    expected = torch.einsum("kc,czyx->kzyx", found[1].weight, features) + found[1].bias[:, None, None, None]
    assert whole.shape == (20, 5, 3, 2)
    torch.testing.assert_close(whole.logits, expected)
    torch.testing.assert_close(whole.take(1, 3), expected[:, 1:3])
