"""What a network says before it has learned anything."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from autoseg.networks.heads import expect_background
from autoseg.networks.structure import Structure


class Net(nn.Module):
    structure = Structure(heads="heads")

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(4, outputs, 1) for _ in range(2))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_each_label_begins_with_its_odds_to_background(share: float) -> None:
    network = Net(4)
    expect_background(network, share)
    for head in network.heads:
        shares = head(torch.randn(1, 4, 3, 3)).softmax(1)
        torch.testing.assert_close(shares[:, 1:] / shares[:, :1], torch.full((1, 3, 3, 3), share / (1 - share)))


def test_each_region_begins_with_its_share() -> None:
    network = Net(3)
    expect_background(network, 0.05, regions=True)
    for head in network.heads:
        torch.testing.assert_close(head(torch.randn(1, 4, 3, 3)).sigmoid(), torch.full((1, 3, 3, 3), 0.05))


def test_the_only_head_may_be_named_itself() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 3, 1))
    network.structure = Structure(heads="1")  # type: ignore[assignment]
    before = network[0].bias.clone()
    expect_background(network, 0.2)
    torch.testing.assert_close(network[1].bias[1:], torch.full((2,), math.log(0.25)))
    assert torch.equal(network[0].bias, before)


def test_a_share_of_zero_and_networks_without_known_heads_are_left_alone() -> None:
    network, other, unknown = Net(3), nn.Conv2d(1, 3, 1), Net(3)
    unknown.structure = Structure()
    before = other.bias.clone()
    expect_background(network, 0)
    expect_background(other, 0.01)
    expect_background(unknown, 0.01)
    assert not any(head.bias.any() for one in (network, unknown) for head in one.heads)
    assert torch.equal(other.bias, before)
