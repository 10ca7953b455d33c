"""Sliding a network whose answer is known over an image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autoseg.inference.sliding_window import Sliding, predict_logits
from autoseg.training.runtime import Runtime


class Pointwise(nn.Module):
    """Logits that depend on their own voxel alone: tiling and mirroring must not show."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([image[:, :1] * 2, image[:, :1] - 1], dim=1)


class Ramp(nn.Module):
    """Logits that grow along the last axis of the tile, whatever the image."""

    def forward(self, image: Tensor) -> Tensor:
        ramp = torch.arange(image.shape[-1], dtype=torch.float32)
        return ramp.expand(image.shape[0], 1, *image.shape[2:]).clone()


def _image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(1, 12, 20, 9), (2, 3, 4, 5), (1, 1, 30, 31)])
@pytest.mark.parametrize("tile", [(8, 8, 8), (8, 16)])
@pytest.mark.parametrize("axes", [(), (0,), (0, 1)])
@pytest.mark.parametrize("batch", [1, 5])
def test_a_pointwise_network_gives_the_same_as_without_tiles(
    shape: tuple[int, ...], tile: tuple[int, ...], axes: tuple[int, ...], batch: int
) -> None:
    image = _image(*shape)
    sliding = Sliding(tile, mirror_axes=axes, batch=batch)
    logits = predict_logits([Pointwise()], image, 2, sliding, Runtime())
    torch.testing.assert_close(logits, torch.stack([image[0] * 2, image[0] - 1]))


def test_mirroring_averages_over_the_flips() -> None:
    image = _image(1, 4, 4, 8)
    plain = predict_logits([Ramp()], image, 1, Sliding((4, 4, 8)), Runtime())
    mirrored = predict_logits([Ramp()], image, 1, Sliding((4, 4, 8), mirror_axes=(2,)), Runtime())
    torch.testing.assert_close(plain[0, 0, 0], torch.arange(8.0))
    torch.testing.assert_close(mirrored, torch.full((1, 4, 4, 8), 3.5))


def test_networks_are_averaged() -> None:
    image = _image(1, 4, 4, 8)
    logits = predict_logits([Ramp(), Ramp(), _Zero()], image, 1, Sliding((4, 4, 8)), Runtime())
    torch.testing.assert_close(logits[0, 0, 0], torch.arange(8.0) * 2 / 3)


def test_the_channels_last_layout_changes_nothing() -> None:
    torch.manual_seed(0)
    network, image = nn.Conv3d(1, 3, 3, padding=1), _image(1, 10, 11, 12)
    sliding = Sliding((8, 8, 8), mirror_axes=(0, 1, 2), batch=4)
    expected = predict_logits([network], image, 3, sliding, Runtime())
    runtime = Runtime(layout="channels_last")
    found = predict_logits([runtime.place(network, 3)], image, 3, sliding, runtime)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


class _Zero(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return torch.zeros_like(image[:, :1])
