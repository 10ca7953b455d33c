"""Every method on tiny encoders: views, batches, steps that lower the loss, weights for a segmentation network."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from blob_images import batch_of, blobs, plan, read_box, setting
from plugin_networks import PLUG_INS

from autoseg import plugins
from autoseg.errors import ConfigurationError, TrainingError
from autoseg.networks.build import build_network
from autoseg.networks.transfer import transfer_weights
from autoseg.tasks.pretraining.batch import ViewBatch, collate
from autoseg.tasks.pretraining.methods.build import (
    MANY,
    MOST_VOXELS,
    build_method,
    build_pretraining_network,
    planned_images,
)
from autoseg.tasks.pretraining.network import PretrainingNetwork
from autoseg.tasks.pretraining.protocol import Outputs, PretrainingMethod
from autoseg.tasks.pretraining.teacher import MomentumTeacher
from autoseg.tasks.pretraining.trainer.adaptation import handed_on
from autoseg.tasks.pretraining.watch import look

NAMES = plugins.names("pretraining")
NETWORKS = [(d, network) for d in (2, 3) for network in ("plain-unet", "residual-encoder-unet")]
WITH_TEACHER = {"byol", "dino", "jepa"}
SMALL: dict[str, dict[str, object]] = {
    **{name: {"hidden": 32, "outputs": 16} for name in ("simclr", "triplet", "byol", "volume-contrast")},
    "dino": {"hidden": 32, "bottleneck": 16, "prototypes": 32, "local_views": 2},
    "jepa": {"width": 16, "layers": 1},
}


def _trained(
    method: PretrainingMethod, network: PretrainingNetwork, batch: ViewBatch, steps: int
) -> tuple[list[float], Outputs, Outputs]:
    """The losses of steps on one batch and of the network after them, as a trainer takes them.

    Batch and target are fixed, since a target that moves makes each step's loss that of another problem; teacher and
    centre are moved all the same, and the loss against them must be a number.
    """
    teacher = None if method.momentum is None else MomentumTeacher(network, method.momentum)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4)
    losses: list[float] = []
    first: Outputs | None = None
    for step in range(steps + 1):
        online = network(batch)
        target: Outputs = {}
        if teacher is not None:
            with torch.no_grad():
                target = teacher.network(batch, teacher=True)
        first = target if first is None else first
        losses.append(method.loss(online, first, batch).item())
        if step < steps:
            assert math.isfinite(method.loss(online, target, batch).item())
            optimizer.zero_grad()
            method.loss(online, first, batch).backward()
            optimizer.step()
            with torch.no_grad():
                method.settle(network, target)
            if teacher is not None:
                teacher.update(step / steps)
    return losses, online, target


@pytest.mark.parametrize(("dimension", "family"), NETWORKS)
@pytest.mark.parametrize("name", NAMES)
def test_three_steps_lower_the_loss_of_a_batch(name: str, dimension: int, family: str) -> None:
    chosen = setting(dimension, family)
    method = build_method(name, chosen, SMALL.get(name))
    network = build_pretraining_network(chosen, method, seed=0)
    losses, online, _ = _trained(method, network, batch_of(method, (24,) * dimension), 3)
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    missing = [key for key, weight in network.named_parameters() if weight.grad is None]
    assert not missing, "parameters without a gradient"
    embedding = online["embedding"]
    assert embedding.shape[1] == 4
    assert embedding.dtype is torch.float32
    assert not embedding.requires_grad
    second = embedding[1] if len(embedding) > 1 else None
    assert math.isfinite(look(embedding[0], second).effective_rank)
    assert (method.momentum is not None) == (name in WITH_TEACHER)


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_keyed_and_have_the_patch_of_the_plan(name: str) -> None:
    method = build_method(name, setting(3), SMALL.get(name))
    one, same, other = (batch_of(method, (24, 20, 28), samples=2, seed=seed) for seed in (0, 0, 1))
    for views in zip(one.views, same.views, other.views, strict=True):
        assert torch.equal(views[0], views[1])
        assert views[0].shape == views[2].shape
        assert all(length % 4 == 0 for length in views[0].shape[2:])
    assert one.extra.keys() == same.extra.keys()
    assert all(torch.equal(values, same.extra[key]) for key, values in one.extra.items())
    assert not all(torch.equal(a, b) for a, b in zip(one.views, other.views, strict=True))
    largest = max(view.shape[2:] for view in one.views)
    parts = {"volume-contrast": (8, 8, 8), **dict.fromkeys(("simclr", "triplet", "byol"), (8, 8, 8))}
    assert largest == parts.get(name, (16, 16, 16))


@pytest.mark.parametrize("name", ["simclr", "triplet", "byol"])
def test_pairs_show_a_part_of_the_patch_in_whole_blocks(name: str) -> None:
    chosen = setting(3, patch_size=(16, 32, 40), median_shape=(50.0, 50.0, 50.0))
    sizes = {share: build_method(name, chosen, {"view_share": share}).view_size for share in (0.01, 0.6, 1.0)}
    assert sizes == {0.01: (8, 8, 8), 0.6: (8, 20, 24), 1.0: (16, 32, 40)}
    method = build_method(name, chosen, {"view_share": 0.6})
    assert [view.size for view in method.draw(np.random.default_rng(0), (50, 50, 50)).views] == [(8, 20, 24)] * 2


def test_methods_that_compare_take_as_many_images_as_their_views_leave_room_for() -> None:
    chosen = setting(3, patch_size=(128, 128, 128), strides=((1,) * 3, (2,) * 3, (2,) * 3), batch_size=2)
    images = {share: planned_images(build_method("byol", chosen, {"view_share": share}), chosen.configuration)
              for share in (1.0, 0.5, 0.25)}  # fmt: skip
    assert images == {1.0: 2, 0.5: MOST_VOXELS // (2 * 64**3), 0.25: MANY}
    assert planned_images(build_method("masked-autoencoder", chosen), chosen.configuration) == 2


@pytest.mark.parametrize("name", NAMES)
def test_thick_slices_several_channels_and_images_smaller_than_the_patch(name: str) -> None:
    chosen = setting(
        3,
        channels=2,
        spacing=(5.0, 0.7, 0.7),
        patch_size=(4, 16, 24),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        kernel_sizes=((1, 3, 3), (1, 3, 3), (3, 3, 3)),
    )
    method = build_method(name, chosen, SMALL.get(name))
    network = build_pretraining_network(chosen, method, seed=0)
    batch = batch_of(method, (3, 14, 30), channels=2, samples=2)
    assert all(view.shape[1] == 2 for view in batch.views)
    losses, *_ = _trained(method, network, batch, 1)
    assert all(math.isfinite(loss) for loss in losses)


@pytest.mark.parametrize("name", NAMES)
def test_losses_under_autocast_are_those_of_full_precision(name: str) -> None:
    method = build_method(name, setting(2), SMALL.get(name))
    network = build_pretraining_network(method.setting, method, seed=0)  # type: ignore[attr-defined]
    batch = batch_of(method, (24, 24))
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        with torch.no_grad(), torch.autocast("cpu", dtype=dtype, enabled=dtype is torch.bfloat16):
            online = network(batch)
            target = network(batch, teacher=True) if method.momentum is not None else {}
            loss = method.loss(online, target, batch)
        assert loss.dtype is torch.float32
        found.append(loss.item())
    assert found[1] == pytest.approx(found[0], rel=0.1, abs=0.05)


@pytest.mark.parametrize("network", ["plain-unet", "residual-encoder-unet"])
def test_the_encoder_goes_into_the_segmentation_network(network: str) -> None:
    chosen = setting(2, network)
    method = build_method("masked-autoencoder", chosen)
    pretrained = build_pretraining_network(chosen, method, seed=1)
    encoder = {key: weight for key, weight in pretrained.state_dict().items() if key.startswith("encoder.")}
    segmentation = build_network(plan(2, network), 1, 3, seed=2)
    transfer = transfer_weights(segmentation, encoder)
    names = {key for key in segmentation.state_dict() if key.startswith("encoder.")}
    assert set(transfer.loaded) == names == set(encoder)
    image = torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(segmentation.encoder[0](image), pretrained.encoder[0](image))  # type: ignore[index]


@pytest.mark.parametrize("name", ["masked-autoencoder", "restoration"])
@pytest.mark.parametrize("network", ["plain-unet", "residual-encoder-unet"])
def test_methods_that_restore_can_hand_the_decoder_on_too(name: str, network: str) -> None:
    chosen = setting(2, network)
    pretrained = build_pretraining_network(chosen, build_method(name, chosen, {"decoder": "network"}), seed=1)
    segmentation = build_network(plan(2, network), 1, 3, seed=2)
    transfer = transfer_weights(segmentation, handed_on(pretrained.state_dict()))
    names = {key for key in segmentation.state_dict() if not key.startswith("heads.")}
    assert set(transfer.loaded) == names
    image = torch.randn(2, 1, 16, 16)
    segmentation.headless = True
    torch.testing.assert_close(pretrained.decoded(pretrained.stages(image)), segmentation(image))

    light = build_pretraining_network(chosen, build_method(name, chosen), seed=1)
    assert all(key.startswith("encoder.") for key in handed_on(light.state_dict()))


def test_the_parts_of_somebody_elses_network_are_pretrained_where_it_names_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugins, "_registered", PLUG_INS)
    chosen = setting(2, "wrapped-told")
    pretrained = build_pretraining_network(chosen, build_method("restoration", chosen, {"decoder": "network"}), seed=1)
    handed = handed_on(pretrained.state_dict())
    segmentation = build_network(plan(2, "wrapped-told"), 2, 3, seed=2)
    transfer = transfer_weights(segmentation, handed)
    assert transfer.adapted == ("inner.encoder.0.0.conv.weight",)
    assert len(transfer.loaded) == len(handed) - 1
    assert not transfer.unused
    assert torch.equal(segmentation.inner.decoder[0][0].conv.weight, pretrained.decoder[0][0].conv.weight)


@pytest.mark.parametrize("network", ["two-layers", "two-layers-told", "wrapped"])
def test_a_network_without_a_known_encoder_is_not_pretrained(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", PLUG_INS)
    chosen = setting(2, network)
    with pytest.raises(ConfigurationError, match=f"'{network}' cannot be pretrained") as caught:
        build_pretraining_network(chosen, build_method("rotation", chosen), seed=1)
    assert "its encoder is not known" in str(caught.value)


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone() -> None:
    chosen = setting(2)
    method = build_method("dino", chosen, SMALL["dino"])
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same = (build_pretraining_network(chosen, method, seed=3).state_dict() for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(weight, same[key]) for key, weight in one.items())


def test_dinos_centre_follows_and_reaches_the_teacher() -> None:
    chosen = setting(2)
    method = build_method("dino", chosen, {**SMALL["dino"], "centre_momentum": 0.5})
    network = build_pretraining_network(chosen, method, seed=0)
    teacher, batch = MomentumTeacher(network, 0.9), batch_of(method, (24, 24))
    with torch.no_grad():
        target = teacher.network(batch, teacher=True)
        method.settle(network, target)
    centre = 0.5 * target["logits"].mean((0, 1))
    torch.testing.assert_close(network.heads["head"].centre, centre)
    assert not target["centre"].any()
    teacher.update(0.0)
    torch.testing.assert_close(teacher.network(batch, teacher=True)["centre"], centre)


def test_the_teachers_copy_goes_its_own_way() -> None:
    chosen = setting(2)
    method = build_method("byol", chosen, SMALL["byol"])
    network = build_pretraining_network(chosen, method, seed=0)
    teacher, batch = MomentumTeacher(network, 1.0), batch_of(method, (24, 24))
    before = teacher.network(batch, teacher=True)["first"]
    _trained(method, network, batch, 1)
    assert torch.equal(teacher.network(batch, teacher=True)["first"], before)


def test_restoration_of_an_image_that_nothing_was_done_to() -> None:
    none = {"nonlinear": 0, "shuffling": 0, "painting": 0}
    method = build_method("restoration", setting(2), {"corruption": none})
    batch = batch_of(method, (24, 24), samples=2)
    assert torch.equal(batch.views[0], batch.extra["image"])
    corrupted = batch_of(build_method("restoration", setting(2)), (24, 24), samples=2)
    assert torch.equal(corrupted.extra["image"], batch.extra["image"])
    assert not torch.equal(corrupted.views[0], batch.views[0])


def test_a_region_is_read_once_and_holds_all_views() -> None:
    method, image = build_method("dino", setting(2)), blobs(np.random.default_rng(0), (40, 40))
    drawn = method.draw(np.random.default_rng(1), (40, 40))
    region = read_box(image, drawn.region)
    assert region.shape == (1, *drawn.region.size)
    assert len(method.make(region, drawn).views) == 6


def test_batches_move_and_are_never_empty() -> None:
    batch = batch_of(build_method("jepa", setting(2)), (24, 24), samples=2)
    moved = batch.to("cpu", torch.channels_last)
    assert moved.views[0].is_contiguous(memory_format=torch.channels_last)
    assert moved.cases == ("case_0", "case_1")
    assert moved.extra["targets"].shape == (2, 4, 4, 4)
    with pytest.raises(TrainingError, match="no examples"):
        collate([], [])


def test_wrong_names_and_options_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'simclr'"):
        build_method("simclear", setting())
    with pytest.raises(ConfigurationError, match="temperature"):
        build_method("simclr", setting(), {"temperatur": 0.1})
    with pytest.raises(ConfigurationError, match="share"):
        build_method("masked-autoencoder", setting(), {"share": 1.5})
    monkeypatch.setattr(plugins, "_registered", {})
    plugins.register("pretraining", "mine")(
        lambda setting, width=1: build_method("rotation", setting, {"hidden": width})
    )
    assert build_method("mine", setting(), {"width": 7}).heads()["classifier"][0].out_features == 7
    with pytest.raises(ConfigurationError, match="depth"):
        build_method("mine", setting(), {"depth": 7})


def test_a_batch_of_one_cannot_be_contrasted() -> None:
    method = build_method("simclr", setting(2), {**SMALL["simclr"], "norm": "layer"})
    network = build_pretraining_network(setting(2), method, seed=0)
    batch = batch_of(method, (24, 24), samples=1)
    with pytest.raises(TrainingError, match="raise the batch size"):
        method.loss(network(batch), {}, batch)
