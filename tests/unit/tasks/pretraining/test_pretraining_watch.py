"""Collapse: known ranks, lightly's deviation, alignment and uniformity by loops, and verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from blob_images import batch_of, setting
from torch import Tensor

from autoseg.tasks.pretraining.methods.build import build_method, build_pretraining_network
from autoseg.tasks.pretraining.watch import (
    CollapseRules,
    alignment,
    deviation_of_unit,
    effective_rank,
    information,
    look,
    relative_deviation,
    uniformity,
)

# lightly 1.5.22 (torch 2.13.0), lightly.utils.debug.std_of_l2_normalized(_normal(1, 6, 16)) in double precision
LIGHTLY_DEVIATION = 0.24690882344336668


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_the_deviation_equals_lightly() -> None:
    assert float(deviation_of_unit(_normal(1, 6, 16))) == pytest.approx(LIGHTLY_DEVIATION, rel=1e-13)
    assert float(deviation_of_unit(torch.ones(4, 3))) == 0
    assert float(relative_deviation(_normal(2, 2000, 64))) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_equal_singular_values_give_their_number(rank: int) -> None:
    left, right = (torch.linalg.qr(_normal(seed, 9, 9))[0] for seed in (1, 2))
    assert float(effective_rank(4 * left[:, :rank] @ right[:rank])) == pytest.approx(rank, rel=1e-9)


def test_unequal_singular_values_by_hand() -> None:
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(effective_rank(torch.diag(torch.tensor([3.0, 1.0])).double())) == pytest.approx(math.exp(entropy))
    assert float(effective_rank(torch.zeros(4, 3))) == 0
    assert float(effective_rank(_normal(1, 8, 1))) == pytest.approx(1)


def test_alignment_and_uniformity_by_loops() -> None:
    first, second = _normal(1, 6, 4), _normal(2, 6, 4)
    a, b = (values / values.norm(dim=1, keepdim=True) for values in (first, second))
    apart = [float((x - y).norm()) ** 2 for x, y in zip(a, b, strict=True)]
    assert float(alignment(first, second)) == pytest.approx(np.mean(apart), rel=1e-12)
    pairs = [math.exp(-2 * float((a[i] - a[j]).norm()) ** 2) for i in range(6) for j in range(i)]
    assert float(uniformity(first)) == pytest.approx(math.log(np.mean(pairs)), rel=1e-12)
    assert float(alignment(first, 3 * first)) == pytest.approx(0, abs=1e-12)
    assert float(alignment(first, -first)) == pytest.approx(4, rel=1e-12)
    assert float(uniformity(torch.ones(3, 2))) == 0


def test_healthy_embeddings() -> None:
    first = _normal(1, 64, 32)
    health = look(first, first + 0.1 * _normal(2, 64, 32))
    assert not health.collapsed
    assert health.reason == ""
    assert health.samples == 64
    assert health.effective_rank > 20
    assert health.alignment is not None
    assert health.alignment < 0.05
    assert health.uniformity is not None
    assert health.uniformity < -3


def test_collapse_to_a_point_and_to_a_line() -> None:
    point = look(torch.ones(32, 8) + 1e-4 * _normal(1, 32, 8))
    assert point.collapsed
    assert "same embedding" in point.reason
    line = look(torch.ones(32, 8) + _normal(1, 32, 1) * _normal(2, 1, 8))
    assert line.collapsed
    assert "few directions" in line.reason
    assert line.effective_rank == pytest.approx(1, abs=1e-6)


def test_few_samples_give_no_verdict_and_numbers_that_are_none_do() -> None:
    same = torch.ones(4, 8)
    assert not look(same).collapsed
    assert look(same, rules=CollapseRules(least_samples=4)).collapsed
    assert not look(same[:1]).collapsed
    assert look(same[:1]).uniformity is None
    assert look(torch.full((4, 8), math.nan)).collapsed


@pytest.mark.parametrize(("dimension", "family"), [(2, "plain-unet"), (3, "residual-encoder-unet")])
@pytest.mark.parametrize("name", ["simclr", "masked-autoencoder", "jepa"])
def test_an_encoder_with_fresh_weights_has_not_collapsed(name: str, dimension: int, family: str) -> None:
    chosen = setting(dimension, family)
    method = build_method(name, chosen)
    network = build_pretraining_network(chosen, method, seed=0)
    with torch.no_grad():
        first = network(batch_of(method, (20,) * dimension, samples=24))["embedding"][0]
    health = look(first)
    assert not health.collapsed
    assert health.effective_rank > 3
    assert look(first[:1].expand(24, -1)).collapsed


def test_information_of_assignments() -> None:
    each = torch.eye(4)
    assert float(information(each)) == pytest.approx(math.log(4))
    assert float(information(torch.full((6, 4), 0.25))) == pytest.approx(0, abs=1e-6)
    assert float(information(each[:1].expand(6, 4))) == pytest.approx(0, abs=1e-6)
    half = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    assert float(information(half)) == pytest.approx(0.5 * math.log(2))  # mean (1/4, 1/2, 1/4)


def test_a_head_that_answers_all_alike_is_told_from_one_that_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(32, 8, generator=generator)
    alike = torch.full((64, 16), 1 / 16)
    sharp = torch.randn(64, 16, generator=generator).mul(5).softmax(-1)
    assert look(embeddings, assignment=alike).uninformed
    assert look(embeddings, assignment=alike * float("nan")).uninformed
    assert not look(embeddings, assignment=sharp).uninformed
    assert not look(embeddings).uninformed
    assert not look(embeddings[:4], assignment=alike).uninformed  # too few to say
