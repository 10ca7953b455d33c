"""Weights that start another network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autoseg.errors import ConfigurationError
from autoseg.networks.build import build_network
from autoseg.networks.transfer import Transfer, transfer_weights
from autoseg.plan.record import ConfigurationPlan

Weights = dict[str, Tensor]


def _net(channels: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, classes, 1))


def _unet(
    stages: int = 4,
    *,
    channels: int = 1,
    outputs: int = 3,
    dimension: int = 3,
    network: str = "plain-unet",
    width: int = 4,
    flat_kernels: int = 0,
    seed: int = 0,
) -> nn.Module:
    """A small U-Net; the first `flat_kernels` stages have kernels of one slice."""
    flat = (1,) + (3,) * (dimension - 1)
    torch.manual_seed(seed)
    return build_network(
        ConfigurationPlan(
            spacing=(1.0,) * dimension, median_shape=(32.0,) * dimension, patch_size=(32,) * dimension, batch_size=1,
            network=network, strides=((1,) * dimension, *((2,) * dimension,) * (stages - 1)),
            kernel_sizes=tuple(flat if i < flat_kernels else (3,) * dimension for i in range(stages)),
            features_per_stage=tuple(min(width << i, 4 * width) for i in range(stages)),
            blocks_per_stage=(1,) * stages, decoder_blocks_per_stage=(1,) * (stages - 1), normalization=("z-score",),
            use_mask_for_norm=(False,), batch_dice=False,
        ),
        channels,
        outputs,
    )  # fmt: skip


def _equal(target: nn.Module, name: str, source: nn.Module, other: str) -> bool:
    return torch.equal(target.state_dict()[name], source.state_dict()[other])


def _part(name: str) -> str:
    return ".".join(name.split(".")[:2])


def test_equal_networks_take_every_weight() -> None:
    source, target = _net(1, 2), _net(1, 2)
    moved = transfer_weights(target, source.state_dict())
    assert len(moved.loaded) == 6
    assert not moved.adapted
    assert not moved.left_out
    image = torch.randn(1, 1, 9, 9)
    torch.testing.assert_close(target(image), source(image))


@pytest.mark.parametrize("network", ["plain-unet", "residual-encoder-unet"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_the_same_plan_loads_everything(network: str, dimension: int) -> None:
    source, target = (_unet(network=network, dimension=dimension, seed=seed) for seed in (1, 2))
    moved = transfer_weights(target, source.state_dict())
    assert set(moved.loaded) == set(target.state_dict())
    assert moved.describe() == f"{len(moved.loaded)} weights loaded, 0 adapted, 0 left out"
    assert all(row.adapted == row.left_out == 0 and row.why == "" for row in moved.table())
    assert sum(row.loaded for row in moved.table()) == len(moved.loaded)
    image = torch.randn(1, 1, *(16,) * dimension)
    assert torch.equal(target(image), source(image))


@pytest.mark.parametrize(("before", "after"), [(1, 3), (1, 4), (4, 1), (2, 3)])
@pytest.mark.parametrize("network", ["plain-unet", "residual-encoder-unet"])
def test_other_channels_respond_to_copies_of_an_image_as_before(network: str, before: int, after: int) -> None:
    source, target = _unet(network=network, channels=before, seed=1), _unet(network=network, channels=after, seed=2)
    moved = transfer_weights(target, source.state_dict())
    assert len(moved.adapted) == 1
    assert len(moved.loaded) == len(target.state_dict()) - 1
    assert moved.table()[0].why == f"{before} image channel{'' if before == 1 else 's'} made {after}"
    image = torch.randn(1, 1, 16, 16, 16)
    expected = source(image.expand(-1, before, -1, -1, -1))
    torch.testing.assert_close(target(image.expand(-1, after, -1, -1, -1)), expected, rtol=1e-3, atol=1e-4)


def test_heads_for_other_classes_are_left_out() -> None:
    moved = transfer_weights(_unet(outputs=5), _unet(outputs=3).state_dict())
    assert {_part(name) for name in moved.left_out} == {"heads.0", "heads.1", "heads.2"}
    rows = {row.group: row for row in moved.table()}
    assert rows["head at resolution 1"] == ("head at resolution 1", 0, 0, 2, "3 outputs in place of 5")


@pytest.mark.parametrize("network", ["plain-unet", "residual-encoder-unet"])
def test_more_stages_keep_all_shared_resolutions(network: str) -> None:
    source, target = _unet(4, network=network, seed=1), _unet(5, network=network, seed=2)
    fresh = _unet(5, network=network, seed=2)
    moved = transfer_weights(target, source.state_dict())
    new = ("encoder.4", "upsamplings.0", "decoder.0", "heads.0")  # the deepest is the first of the decoder
    for name in target.state_dict():
        part, place, rest = name.split(".", 2)
        if _part(name) in new:
            assert name in moved.left_out
            assert _equal(target, name, fresh, name)
        else:
            other = place if part == "encoder" else str(int(place) - 1)
            assert name in moved.loaded
            assert _equal(target, name, source, f"{part}.{other}.{rest}")
    assert not moved.unused
    groups = {row.group: row for row in moved.table()}
    assert groups["decoder at resolution 1/8"].left_out == len([n for n in moved.left_out if "decoder.0" in n])
    assert groups["decoder at resolution 1/8"].why == "not in the weights"
    assert groups["decoder at resolution 1/4"].left_out == 0


@pytest.mark.parametrize("network", ["plain-unet", "residual-encoder-unet"])
def test_fewer_stages_keep_all_shared_resolutions(network: str) -> None:
    source, target = _unet(5, network=network, seed=1), _unet(4, network=network, seed=2)
    moved = transfer_weights(target, source.state_dict())
    for name in target.state_dict():
        part, place, rest = name.split(".", 2)
        other = place if part == "encoder" else str(int(place) + 1)
        assert name in moved.loaded
        assert _equal(target, name, source, f"{part}.{other}.{rest}")
    assert {_part(name) for name in moved.unused} == {"encoder.4", "upsamplings.0", "decoder.0", "heads.0"}
    rows = moved.table()
    assert ("encoder stage 4 of the weights", "this network has no such part") in {(r.group, r.why) for r in rows}
    assert moved.describe().endswith(f"{len(moved.unused)} without a place in this network")


def test_blocks_of_other_kernels_are_left_out_whole() -> None:
    source, target = _unet(flat_kernels=1, seed=1), _unet(flat_kernels=0, seed=2)
    fresh = _unet(flat_kernels=0, seed=2)
    moved = transfer_weights(target, source.state_dict())
    assert {_part(name) for name in moved.left_out} == {"encoder.0", "decoder.2"}
    assert all(_equal(target, name, fresh, name) for name in moved.left_out)
    assert all(_equal(target, name, source, name) for name in moved.loaded)
    assert moved.table()[0].why == "kernel 1x3x3 in place of 3x3x3"


def test_other_widths_fit_nowhere() -> None:
    target = _unet(width=8, outputs=2)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(ConfigurationError, match="not one pretrained weight fits"):
        transfer_weights(target, _unet(width=6, outputs=3).state_dict(), where="weights.pt")
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_a_plain_encoder_gives_a_residual_network_its_decoder() -> None:
    source, target = _unet(network="plain-unet"), _unet(network="residual-encoder-unet")
    moved = transfer_weights(target, source.state_dict())
    assert {name.split(".")[0] for name in moved.loaded} >= {"upsamplings", "decoder", "heads"}
    assert all(name.startswith("encoder") for name in moved.left_out)


@pytest.mark.parametrize(("mine", "theirs"), [(3, 2), (2, 3)])
def test_weights_of_another_dimension_are_refused(mine: int, theirs: int) -> None:
    with pytest.raises(ConfigurationError, match=f"weights are of a {theirs}D network") as caught:
        transfer_weights(_unet(dimension=mine), _unet(dimension=theirs).state_dict(), where="weights.pt")
    assert f"weights of a {mine}D network" in str(caught.value)


@pytest.mark.parametrize("weights", [{}, {"other": torch.zeros(1)}])
def test_nothing_fits_is_an_error(weights: Weights) -> None:
    with pytest.raises(ConfigurationError, match=r"weights\.pt: not one pretrained weight fits"):
        transfer_weights(_net(1, 2), weights, where="weights.pt")


def test_the_log_has_a_line_for_each_part() -> None:
    lines = transfer_weights(_unet(channels=2, outputs=2), _unet().state_dict()).lines()
    assert lines[0].endswith("1 adapted, 6 left out")
    assert lines[1] == "  encoder stage 0               3 loaded, 1 adapted (1 image channel made 2)"
    assert lines[-1] == "  head at resolution 1          2 left out (3 outputs in place of 2)"


def test_the_table_counts_every_tensor_once() -> None:
    target = _unet(5, channels=2, outputs=2)
    moved: Transfer = transfer_weights(target, _unet(4, flat_kernels=2).state_dict())
    rows = moved.table()
    assert sum(sum(row[1:4]) for row in rows) == len(target.state_dict()) + len(moved.unused)
    assert [row.group for row in rows[:5]] == [f"encoder stage {i}" for i in range(5)]
