"""Masks: exact shares, keyed draws, blocks that do not meet; features that see nothing of what is hidden."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from blob_images import plan
from torch import nn

from autoseg.errors import ConfigurationError, TrainingError
from autoseg.networks.build import build_network
from autoseg.networks.normalization import InstanceNorm
from autoseg.tasks.pretraining.blocks import at_resolution
from autoseg.tasks.pretraining.features import dense, encoder_of, pooled, pooled_views, pooled_visible, stage_features
from autoseg.tasks.pretraining.masking import TargetBlocks, block_mask


@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (4, 4, 4), (1, 8, 8), (2, 3, 5), (1, 2)])
@pytest.mark.parametrize("share", [0.6, 0.75, 0.999, 0.01])
def test_masks_have_their_share_exact_to_a_block(grid: tuple[int, ...], share: float) -> None:
    cells = int(np.prod(grid))
    for seed in range(5):
        mask = block_mask(np.random.default_rng(seed), grid, share)
        assert mask.shape == grid
        assert mask.sum() == min(max(round(share * cells), 1), cells - 1)


def test_masks_are_keyed_and_every_block_is_hidden_as_often() -> None:
    one, same, other = (block_mask(np.random.default_rng((0, seed)), (4, 4), 0.6) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    rng = np.random.default_rng(0)
    often = np.mean([block_mask(rng, (2, 4), 0.75) for _ in range(2000)], axis=0)
    np.testing.assert_allclose(often, 0.75, atol=0.04)


def test_a_single_block_cannot_be_masked() -> None:
    with pytest.raises(TrainingError, match="single block"):
        block_mask(np.random.default_rng(0), (1, 1, 1), 0.6)
    with pytest.raises(TrainingError, match="single block"):
        TargetBlocks().draw(np.random.default_rng(0), (1, 1))


@pytest.mark.parametrize("grid", [(14, 14), (4, 4), (8, 8, 8), (1, 6, 6), (2, 2), (1, 2), (2, 1, 1)])
def test_context_and_targets_never_meet(grid: tuple[int, ...]) -> None:
    for seed in range(50):
        split = TargetBlocks().draw(np.random.default_rng(seed), grid)
        assert split.context.shape == grid
        assert split.targets.shape == (4, *grid)
        assert split.context.any()
        assert split.targets.reshape(4, -1).any(1).all()
        assert not (split.context & split.targets).any()
        for target in split.targets:  # each is a box
            places = np.argwhere(target)
            assert np.prod(np.ptp(places, axis=0) + 1) == len(places)


def test_targets_have_the_sizes_that_were_asked_for() -> None:
    rng, sizes, contexts = np.random.default_rng(0), [], []
    for _ in range(200):
        split = TargetBlocks().draw(rng, (20, 20))
        sizes += [target.mean() for target in split.targets]
        contexts.append(split.context.mean())
    assert min(sizes) > 0.13
    assert max(sizes) < 0.23
    assert np.mean(sizes) == pytest.approx(0.175, abs=0.01)
    assert min(contexts) >= 0.2


def test_crowded_grids_keep_a_context() -> None:
    blocks = TargetBlocks(targets=6, target_share=(0.9, 1.0), target_elongation=(1, 1))
    split = blocks.draw(np.random.default_rng(0), (3, 3))
    assert split.context.any()
    assert split.targets.reshape(6, -1).any(1).all()
    assert not (split.context & split.targets).any()
    with pytest.raises(ValueError, match="is more than"):
        TargetBlocks(target_share=(0.3, 0.2))


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("network", ["plain-unet", "residual-encoder-unet"])
def test_features_see_nothing_of_hidden_blocks(dimension: int, network: str) -> None:
    configuration = plan(dimension, network)
    encoder = encoder_of(build_network(configuration, 1, 2, seed=0), configuration)
    hidden = torch.from_numpy(np.stack([block_mask(np.random.default_rng(i), (4,) * dimension, 0.6) for i in range(2)]))
    image = torch.randn(2, 1, *(16,) * dimension, generator=torch.Generator().manual_seed(0))
    unseen = at_resolution(hidden, image.shape[2:]).unsqueeze(1)
    features = stage_features(encoder, image, hidden)
    changed = stage_features(encoder, torch.where(unseen, image + 7, image), hidden)
    for stage, other, size in zip(features, changed, (16, 8, 4), strict=True):
        assert stage.shape[2:] == (size,) * dimension
        assert torch.equal(stage, other)
        unseen_here = at_resolution(hidden, stage.shape[2:]).unsqueeze(1).expand_as(stage)
        assert not stage[unseen_here].any()
        assert stage[~unseen_here].any()
    seen = torch.where(unseen, image, image + torch.linspace(0, 1, 16))
    assert not torch.allclose(stage_features(encoder, seen, hidden)[-1], features[-1])


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("network", ["plain-unet", "residual-encoder-unet"])
def test_features_beside_a_hidden_half_are_those_of_an_image_that_ends_there(dimension: int, network: str) -> None:
    """What is hidden neither spreads nor counts in a normalisation, in any image of the batch."""
    configuration = plan(dimension, network)
    encoder = encoder_of(build_network(configuration, 1, 2, seed=0), configuration)
    for module in encoder.modules():  # residual branches begin at zero, and shifts too
        if isinstance(module, InstanceNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    image = torch.randn(2, 1, *(16,) * dimension, generator=torch.Generator().manual_seed(0))
    hidden = torch.zeros(2, *(4,) * dimension, dtype=torch.bool)
    hidden[0, ..., 2:], hidden[1, ..., 1:] = True, True
    features = stage_features(encoder, image, hidden)
    for number, width in enumerate((8, 4)):
        alone = stage_features(encoder, image[number : number + 1, ..., :width])
        for stage, expected in zip(features, alone, strict=True):
            torch.testing.assert_close(stage[number, ..., : expected.shape[-1]], expected[0], atol=1e-5, rtol=1e-5)
    nothing = torch.zeros_like(hidden)
    for whole, stage in zip(stage_features(encoder, image), stage_features(encoder, image, nothing), strict=True):
        torch.testing.assert_close(stage, whole, atol=1e-5, rtol=1e-5)


def test_without_a_mask_features_are_the_networks_own() -> None:
    configuration = plan(2)
    network = build_network(configuration, 1, 2, seed=0)
    encoder, image = encoder_of(network, configuration), torch.randn(2, 1, 16, 16)
    expected = image
    for stage, found in zip(encoder, stage_features(encoder, image), strict=True):
        expected = stage(expected)
        assert torch.equal(found, expected)
    views = [image, image[:, :, :8, :8], image.flip(2)]
    for view, vector in zip(views, pooled_views(encoder, views), strict=True):
        torch.testing.assert_close(vector, pooled(stage_features(encoder, view)[-1]))


def test_networks_without_a_known_encoder_of_stages_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot be pretrained") as caught:
        encoder_of(nn.Linear(2, 2), plan())
    assert "its encoder is not known" in str(caught.value)
    with pytest.raises(ConfigurationError, match="3 stages"):
        encoder_of(build_network(plan(), 1, 1), plan(network="resnet", **_fewer()))


def _fewer() -> dict[str, object]:
    four = ((1, 1), (2, 2), (2, 2), (1, 1))
    return {
        "strides": four,
        "kernel_sizes": ((3, 3),) * 4,
        "features_per_stage": (4, 8, 12, 12),
        "blocks_per_stage": (1,) * 4,
        "decoder_blocks_per_stage": (1,) * 3,
    }


def test_pooling_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, -1.0], [-2.0, -5.0]]]])
    assert pooled(features).tolist() == [[3.0, -2.0, 6.0, 0.0]]
    hidden = torch.tensor([[[True, False], [False, True]]])
    assert pooled_visible(features, hidden).tolist() == [[2.5, -1.5, 3.0, -1.0]]
    assert pooled_visible(features, torch.ones_like(hidden)).tolist() == [[0.0] * 4]
    assert dense(features)[0, 2].tolist() == [3.0, -2.0]
