"""Weights that start another network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from autoseg.errors import ConfigurationError
from autoseg.networks.transfer import transfer_weights


def _net(channels: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, classes, 1))


def test_equal_networks_take_every_weight() -> None:
    source, target = _net(1, 2), _net(1, 2)
    moved = transfer_weights(target, source.state_dict())
    assert len(moved.loaded) == 6
    assert not moved.adapted
    assert not moved.left_out
    image = torch.randn(1, 1, 9, 9)
    torch.testing.assert_close(target(image), source(image))


def test_more_channels_respond_to_copies_of_the_image_as_before() -> None:
    source, target = _net(1, 2), _net(3, 2)
    moved = transfer_weights(target, source.state_dict())
    assert moved.adapted == ("0.weight",)
    image = torch.randn(1, 1, 9, 9)
    torch.testing.assert_close(target(image.expand(-1, 3, -1, -1)), source(image), rtol=1e-4, atol=1e-5)


def test_a_head_for_other_classes_is_left_out() -> None:
    moved = transfer_weights(_net(1, 5), _net(1, 2).state_dict())
    assert moved.left_out == ("2.weight", "2.bias")


def test_nothing_fits_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="not one pretrained weight fits"):
        transfer_weights(_net(1, 2), {"other": torch.zeros(1)}, where="weights.pt")
