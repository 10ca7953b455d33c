"""Projectors, DINO's head, the predictor of hidden cells and the light decoder."""

from __future__ import annotations

import copy

import pytest
import torch
from blob_images import plan
from torch import nn

from autoseg.tasks.pretraining.decoder import LightDecoder, Tokens
from autoseg.tasks.pretraining.heads import ContextPredictor, DinoHead, byol_mlp, mlp, norm_for, simclr_projector


def test_layers_and_norms_as_in_the_papers() -> None:
    simclr = [type(layer) for layer in simclr_projector(8, "batch", hidden=16, outputs=4)]
    assert simclr == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d]
    byol = [type(layer) for layer in byol_mlp(8, "layer", hidden=16, outputs=4)]
    assert byol == [nn.Linear, nn.LayerNorm, nn.ReLU, nn.Linear]
    assert [type(layer) for layer in mlp((3, 2), "none")] == [nn.Linear]
    assert byol_mlp(8, "batch", hidden=16, outputs=4)(torch.randn(5, 8)).shape == (5, 4)
    assert norm_for(2) == "layer"
    assert norm_for(8) == "batch"


def test_dinos_logits_are_cosines() -> None:
    head = DinoHead(6, hidden=8, bottleneck=4, outputs=10)
    vectors = torch.randn(5, 6)
    logits = head(vectors)
    assert logits.shape == (5, 10)
    assert float(logits.detach().abs().max()) <= 1 + 1e-6
    with torch.no_grad():
        head.prototypes.mul_(5)
    torch.testing.assert_close(head(vectors), logits)
    torch.testing.assert_close(copy.deepcopy(head)(vectors), logits)
    assert "centre" in head.state_dict()
    assert "centre" not in dict(head.named_parameters())


@pytest.mark.parametrize("grid", [(4, 4), (1, 3, 4)])
def test_the_predictor_sees_visible_cells_alone(grid: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    predictor = ContextPredictor(6, grid, width=8, blocks=2)
    features, hidden = torch.randn(2, 6, *grid), torch.rand(2, *grid) < 0.5
    hidden.view(2, -1)[:, :2] = torch.tensor([True, False])
    predicted = predictor(features, hidden)
    assert predicted.shape == features.shape
    unseen = hidden.unsqueeze(1)
    torch.testing.assert_close(predictor(torch.where(unseen, features + 3, features), hidden), predicted)
    assert not torch.allclose(
        predictor(torch.where(unseen, features, features + torch.randn(6, *(1,) * len(grid))), hidden), predicted
    )


def test_the_predictor_knows_places() -> None:
    torch.manual_seed(0)
    predictor = ContextPredictor(4, (3, 3), width=8, blocks=1)
    predicted = predictor(torch.zeros(1, 4, 3, 3), torch.ones(1, 3, 3, dtype=torch.bool))
    assert not torch.allclose(predicted[..., 1, 1], predicted[..., 0, 0])


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_decoder_gives_an_image_and_ignores_hidden_features(dimension: int) -> None:
    torch.manual_seed(0)
    decoder, tokens = LightDecoder(plan(dimension), 2, width=6), Tokens(plan(dimension))
    features = [torch.randn(2, n, *(size,) * dimension) for n, size in ((4, 16), (8, 8), (12, 4))]
    hidden = torch.zeros(2, *(4,) * dimension, dtype=torch.bool)
    hidden[:, 1:3] = True
    image = decoder(tokens(features, hidden))
    assert image.shape == (2, 2, *(16,) * dimension)
    changed = []
    for stage in features:
        other = stage.clone()
        length = stage.shape[2] // 4
        other[:, :, length : 3 * length] += 5
        changed.append(other)
    torch.testing.assert_close(decoder(tokens(changed, hidden)), image)
    image.sum().backward()
    assert all(parameter.grad is not None for part in (decoder, tokens) for parameter in part.parameters())


def test_a_decoder_of_whole_images_and_of_a_stem_that_strides() -> None:
    strides = ((2, 2), (2, 2), (1, 2))
    decoder = LightDecoder(plan(2, strides=strides), 1)
    features = [torch.randn(1, n, *size) for n, size in ((4, (8, 8)), (8, (4, 4)), (12, (4, 2)))]
    image = decoder(features)
    assert image.shape == (1, 1, 16, 16)
    image.sum().backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())
