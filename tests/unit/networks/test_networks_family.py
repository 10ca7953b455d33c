"""What a network tells of itself, and what is made of one that tells nothing."""

from __future__ import annotations

import copy
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from plugin_networks import PLUG_INS, TOLD, WIDTH, told_layers, two_layers
from random_runs import configuration
from torch import Tensor, nn

from autoseg import plugins
from autoseg.errors import ConfigurationError, PluginError
from autoseg.inference.readout import without_heads
from autoseg.inference.rows import in_memory
from autoseg.inference.sliding_window import Sliding, predict_logits, slide
from autoseg.networks import family
from autoseg.networks.build import build_network, count_parameters
from autoseg.networks.family import NetworkFamily, known_family, network_family
from autoseg.networks.heads import expect_background
from autoseg.networks.layers import Layer
from autoseg.networks.structure import Structure, part_of, structure_of
from autoseg.networks.transfer import transfer_weights
from autoseg.networks.unet import plain_unet
from autoseg.plan.cost import multiply_adds, parameters, receptive_field
from autoseg.plan.memory import training_memory
from autoseg.training.runtime import Runtime


@pytest.fixture(autouse=True)
def _plug_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", PLUG_INS)


def test_a_plain_function_is_a_family_that_knows_nothing() -> None:
    assert network_family("two-layers") == NetworkFamily(two_layers)
    network = build_network(configuration(2, "two-layers"), 1, 3, seed=0)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3, 8, 8)
    assert structure_of(network) == Structure()


def test_a_built_network_carries_what_its_family_tells() -> None:
    network = build_network(configuration(3, "two-layers-told"), 1, 3, seed=0)
    assert structure_of(network) == TOLD.structure
    assert structure_of(copy.deepcopy(network)).stem == "0"
    assert part_of(network, "2") is network[2]  # type: ignore[index]
    assert "structure" not in "".join(network.state_dict())


def test_a_function_that_gives_a_unet_of_this_project_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = {"wide": lambda plan, *sizes: plain_unet(plan.with_(features_per_stage=(8, 16)), *sizes)}
    monkeypatch.setattr(plugins, "_registered", {"network": wide})
    assert network_family("wide").layers is None
    network = build_network(configuration(2, "wide"), 1, 20, seed=0).eval()
    expect_background(network, 0.01)
    assert (network.heads[-1].bias[1:] < -4).all()  # type: ignore[index,union-attr,operator]
    assert without_heads([network], 20) is not None
    moved = transfer_weights(network, build_network(configuration(2, "wide"), 3, 20, seed=1).state_dict())
    assert moved.adapted == ("encoder.0.0.conv.weight",)


def test_what_is_no_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {"network": {"number": 3}})
    with pytest.raises(PluginError, match="'number' cannot be called"):
        network_family("number")


def test_a_plug_in_that_is_not_there_is_nothing_known_and_cannot_be_built() -> None:
    assert known_family("elsewhere") is None
    with pytest.raises(ConfigurationError, match="unknown network 'elsewhere'") as caught:
        build_network(configuration(2, "elsewhere"), 1, 3)
    assert "--plugin FILE" in str(caught.value)


def test_a_name_that_leads_nowhere_is_told() -> None:
    network = two_layers(configuration(2), 1, 3)
    network.structure = Structure(heads="head")  # type: ignore[assignment]
    with pytest.raises(PluginError, match="names a module that it does not have"):
        part_of(network, structure_of(network).heads)


def test_costs_follow_from_the_layers_that_are_told() -> None:
    """By hand, for a patch of 8 x 8 voxels, one channel, three outputs and a batch of two."""
    plan = configuration(2, "two-layers-told")
    voxels, first, head = 64, 9 * WIDTH, 3 * WIDTH  # products per voxel
    assert parameters(plan, 1, 3) == (first + WIDTH) + (head + 3) == 55
    assert parameters(plan, 1, 3) == count_parameters(build_network(plan, 1, 3))
    assert multiply_adds(plan, 1, 3) == 3 * 2 * voxels * (first + head)
    assert receptive_field(plan) == (5, 5)
    kept, peak, loss = voxels * WIDTH, 3 * voxels * WIDTH, 4 * voxels * 3
    expected = 2 * 4 * (kept + peak + loss + voxels) + 3 * 4 * 55
    assert training_memory(plan, 1, 3, mixed_precision=False) == expected


def test_the_loss_is_that_of_the_last_layer_where_no_head_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    size, one = (8, 8), (1, 1)

    def memory(last: str) -> int:
        layers = [Layer("block", 1, 4, (3, 3), size, one), Layer(last, 4, 3, one, size, one)]  # type: ignore[arg-type]
        monkeypatch.setattr(
            plugins, "_registered", {"network": {"last": NetworkFamily(two_layers, layers=lambda *_: layers)}}
        )
        return training_memory(configuration(2, "last"), 1, 3, mixed_precision=False)

    # what a head gives is kept by the loss alone; a convolution's activation is kept beside
    assert memory("convolution") - memory("head") == 2 * 4 * 3 * 64


def _support(network: nn.Module, edge: int = 64) -> tuple[int, ...]:
    """Extent of the image that the middle value of a network's output depends on, all weights being positive."""
    network = network.double()
    for weight in network.parameters():
        nn.init.ones_(weight)
    image = torch.zeros(1, 1, edge, edge, dtype=torch.float64, requires_grad=True)
    output = network(image)
    output[0, 0, output.shape[2] // 2, output.shape[3] // 2].backward()
    assert image.grad is not None
    touched = image.grad[0, 0].nonzero()
    return tuple((touched.max(0).values - touched.min(0).values + 1).tolist())


def test_the_receptive_field_is_what_an_output_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _support(two_layers(configuration(2), 1, 1)) == receptive_field(configuration(2, "two-layers-told"))
    dilated = nn.Conv2d(1, 1, (3, 5), padding=(3, 2), dilation=(3, 1))
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.AvgPool2d((2, 1), (2, 1)), dilated)

    def layers(*_: object) -> list[Layer]:
        return [
            Layer("block", 1, 1, (3, 3), (64, 64), (1, 1)),
            Layer("pooling", 1, 1, (2, 1), (32, 64), (2, 1)),
            Layer("convolution", 1, 1, (3, 3), (32, 64), (1, 1), aside=True),
            Layer("convolution", 1, 1, (3, 5), (32, 64), (1, 1), dilation=(3, 1)),
            Layer("interpolation", 1, 1, (2, 1), (64, 64), (1, 1)),
            Layer("block", 1, 1, (9, 9), (64, 64), (1, 1)),
        ]

    monkeypatch.setattr(plugins, "_registered", {"network": {"pooled": NetworkFamily(two_layers, layers=layers)}})
    assert receptive_field(configuration(2, "pooled")) == _support(network) == (16, 7)


@pytest.mark.parametrize(
    ("layer", "module"),
    [
        (Layer("convolution", 4, 6, (3, 3), (5, 5), (1, 1), groups=2), nn.Conv2d(4, 6, 3, groups=2)),
        (Layer("head", 4, 6, (1, 3), (5, 5), (1, 1)), nn.Conv2d(4, 6, (1, 3))),
        (Layer("up", 4, 6, (2, 2), (5, 5), (2, 2)), nn.ConvTranspose2d(4, 6, 2, 2)),
        (
            Layer("block", 4, 6, (3, 3), (5, 5), (2, 2)),
            nn.Sequential(nn.Conv2d(4, 6, 3), nn.InstanceNorm2d(6, affine=True)),
        ),
        (Layer("pooling", 4, 4, (2, 2), (5, 5), (2, 2)), nn.AvgPool2d(2)),
        (Layer("interpolation", 4, 4, (2, 2), (5, 5), (1, 1)), nn.Upsample(scale_factor=2)),
    ],
)
def test_parameters_of_a_layer_are_those_of_the_module(layer: Layer, module: nn.Module) -> None:
    assert layer.parameters == count_parameters(module)


def test_a_network_that_tells_no_layer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = NetworkFamily(two_layers, layers=lambda *_: [])
    monkeypatch.setattr(plugins, "_registered", {"network": {"empty": empty}})
    with pytest.raises(PluginError, match="tells no layer"):
        parameters(configuration(2, "empty"), 1, 3)


@pytest.mark.parametrize(("name", "held"), [("two-layers-told", 2 * WIDTH), ("two-layers", 20)])
def test_features_are_held_where_the_last_layer_is_known_to_come_off(name: str, held: int) -> None:
    networks = [build_network(configuration(3, name), 1, 20, seed=seed).eval() for seed in range(2)]
    image, sliding = torch.randn((1, 13, 10, 9)), Sliding((8, 8, 8), batch=4)
    whole = in_memory(slide(networks, image, 20, sliding, Runtime()))
    assert whole.held.shape[0] == held
    opaque = [_Opaque(network) for network in networks]
    expected = predict_logits(opaque, image, 20, sliding, Runtime())
    torch.testing.assert_close(whole.logits, expected, rtol=1e-4, atol=1e-5)


class _Opaque(nn.Module):
    """Hides what its network tells."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.network(image)
        return result


@pytest.mark.parametrize(
    "head", [nn.Conv2d(4, 40, 3, padding=1), nn.Conv2d(4, 40, 1, bias=False), nn.Conv2d(4, 40, 1, groups=4), nn.ReLU()]
)
def test_a_last_layer_that_is_no_matrix_stays_where_it_is(head: nn.Module) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), head)
    network.structure = Structure(readout=lambda network: (network[:-1], network[-1]))  # type: ignore[assignment,index]
    assert without_heads([network], 40) is None


class _Staged(nn.Module):
    """An encoder under another name; its stages might be counted either way."""

    def __init__(self, stages: int, channels: int = 1) -> None:
        super().__init__()
        self.backbone = nn.ModuleList(nn.Conv2d(channels if i == 0 else 2, 2, 3, padding=1) for i in range(stages))
        self.decoder = nn.ModuleList(nn.Conv2d(2, 2, 3, padding=1) for _ in range(stages - 1))


STAGED = Structure(stem="backbone.0", encoder="backbone", decoder="decoder")


@pytest.mark.parametrize("known", [True, False])
def test_weights_go_to_their_resolution_where_the_structure_is_known_else_to_their_name(known: bool) -> None:
    source, target = _Staged(4), _Staged(3)
    if known:
        target.structure = STAGED  # type: ignore[assignment]
    moved = transfer_weights(target, source.state_dict())
    assert len(moved.loaded) == len(target.state_dict())
    # the decoder's modules are in the order of computation, so that the deepest of the source is the one too many
    assert torch.equal(target.decoder[0].weight, source.decoder[1 if known else 0].weight)
    assert torch.equal(target.backbone[2].weight, source.backbone[2].weight)
    groups = [row.group for row in moved.table()]
    assert ("encoder stage 0" in groups) is known
    assert ("backbone" in groups) is not known


@pytest.mark.parametrize("structure", [STAGED, None])
def test_other_image_channels_are_adapted_where_the_stem_is_known(structure: Structure | None) -> None:
    target = _Staged(2, channels=3)
    before = target.backbone[0].weight.clone()
    if structure is not None:
        target.structure = structure  # type: ignore[assignment]
    moved = transfer_weights(target, _Staged(2, channels=1).state_dict())
    assert moved.adapted == (() if structure is None else ("backbone.0.weight",))
    assert torch.equal(target.backbone[0].weight, before) is (structure is None)
    if structure is None:
        assert moved.table()[0].why == "1 inputs in place of 3"


def test_a_pretrained_encoder_finds_one_of_another_name() -> None:
    """A pretraining names the encoder `encoder`, whatever it is called in the network that it was taken from."""
    source, target = _Staged(3), _Staged(3)
    target.structure = STAGED  # type: ignore[assignment]
    handed = {
        name.replace("backbone", "encoder"): weight for name, weight in source.backbone.named_parameters("backbone")
    }
    moved = transfer_weights(target, handed)
    assert len(moved.loaded) == len(handed)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(source.backbone, target.backbone, strict=True))


def test_the_networks_of_this_project_are_records_that_can_be_called_and_changed() -> None:
    made: Callable[..., nn.Module] = plugins.resolve("network", "plain-unet")
    assert made(configuration(2), 1, 3)(torch.zeros(1, 1, 8, 8)).shape == (1, 3, 8, 8)
    other = replace(plugins.resolve("network", "plain-unet"), layers=told_layers)
    assert other.topology == "unet"


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_example_of_the_module_tells_all(dimension: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {})
    lines = (family.__doc__ or "").splitlines()
    exec(textwrap.dedent("\n".join(line for line in lines if line.startswith("    ") or not line)), {})
    plan = configuration(dimension, "small")
    network = build_network(plan, 1, 3, seed=0)
    assert network(torch.zeros(1, 1, *(8,) * dimension)).shape == (1, 3, *(8,) * dimension)
    assert parameters(plan, 1, 3) == count_parameters(network)
    assert receptive_field(plan) == (3,) * dimension
    expect_background(network, 0.01)
    assert (network[2].bias[1:] < -4).all()  # type: ignore[index,operator]
    assert without_heads([network], 3) is None  # 8 features are no fewer
    assert without_heads([build_network(plan, 1, 9)], 9) is not None


def test_planning_does_not_wait_for_pytorch() -> None:
    code = (
        "import sys, autoseg.plan.table, planners.default, planners.budget; from autoseg.networks.family import "
        "network_family; [network_family(n) for n in ('plain-unet', 'residual-encoder-unet', 'linear-readout')]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
