"""What a network says before it has learned anything."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from autoseg.networks.heads import expect_background


class Net(nn.Module):
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


def test_a_share_of_zero_and_networks_without_heads_are_left_alone() -> None:
    network, other = Net(3), nn.Conv2d(1, 3, 1)
    before = other.bias.clone()
    expect_background(network, 0)
    expect_background(other, 0.01)
    assert not any(head.bias.any() for head in network.heads)
    assert torch.equal(other.bias, before)
