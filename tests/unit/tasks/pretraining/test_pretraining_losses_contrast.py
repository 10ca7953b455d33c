"""NT-Xent and triplets against lightly, loops and analytic values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg.errors import TrainingError
from autoseg.tasks.pretraining.losses.contrast import nt_xent, others, triplet

# lightly 1.5.22 (torch 2.13.0), NTXentLoss(temperature=t)(_normal(1, 6, 16), _normal(2, 6, 16)) in double precision.
LIGHTLY = {0.1: 3.6927272161405216, 0.5: 2.3618292025355347, 1.0: 2.3520325929301378}


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


@pytest.mark.parametrize("temperature", LIGHTLY)
def test_nt_xent_equals_lightly(temperature: float) -> None:
    found = float(nt_xent(_normal(1, 6, 16), _normal(2, 6, 16), temperature))
    assert found == pytest.approx(LIGHTLY[temperature], rel=1e-13)


def test_nt_xent_by_loops() -> None:
    first, second, temperature = _normal(3, 4, 5), _normal(4, 4, 5), 0.3
    views = [*first, *second]
    terms = []
    for i, view in enumerate(views):
        scores = {k: math.exp(_cosine(view, other) / temperature) for k, other in enumerate(views) if k != i}
        terms.append(-math.log(scores[(i + 4) % 8] / sum(scores.values())))
    assert float(nt_xent(first, second, temperature)) == pytest.approx(np.mean(terms), rel=1e-12)


def test_nt_xent_knows_no_order_of_samples_or_views_and_no_length_of_vectors() -> None:
    first, second = _normal(5, 6, 8), _normal(6, 6, 8)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    value = float(nt_xent(first, second))
    assert float(nt_xent(first[order], second[order])) == pytest.approx(value, rel=1e-12)
    assert float(nt_xent(second, first)) == pytest.approx(value, rel=1e-12)
    assert float(nt_xent(first * 7, second / 3)) == pytest.approx(value, rel=1e-12)


def test_nt_xent_at_the_limits_of_its_temperature() -> None:
    first, second = _normal(7, 5, 8), _normal(8, 5, 8)
    assert float(nt_xent(first, second, 1e6)) == pytest.approx(math.log(9), abs=1e-5)
    views = [*first, *second]
    # towards zero, t x loss becomes the distance in similarity from the partner to the most similar view
    shortfall = [
        max(_cosine(v, o) for k, o in enumerate(views) if k != i) - _cosine(v, views[(i + 5) % 10])
        for i, v in enumerate(views)
    ]
    assert float(nt_xent(first, second, 1e-5)) * 1e-5 == pytest.approx(np.mean(shortfall), rel=1e-4)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_nt_xent_of_views_that_are_all_alike(temperature: float) -> None:
    same = torch.ones(6, 4, dtype=torch.float64)
    assert float(nt_xent(same, same, temperature)) == pytest.approx(math.log(11), rel=1e-12)


def test_nt_xent_of_orthogonal_images_with_identical_views() -> None:
    unit = torch.eye(4, dtype=torch.float64)
    expected = math.log(1 + 6 * math.exp(-1 / 0.2))  # the partner against the six views of the other images
    assert float(nt_xent(unit, unit, 0.2)) == pytest.approx(expected, rel=1e-12)


def test_nt_xent_keeps_its_precision_under_autocast() -> None:
    first, second = _normal(1, 6, 16).float(), _normal(2, 6, 16).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = nt_xent(first, second, 0.1)
    assert found.dtype is torch.float32
    assert float(found) == pytest.approx(LIGHTLY[0.1], rel=1e-5)
    assert nt_xent(first.bfloat16(), second.bfloat16(), 0.1).dtype is torch.float32


@pytest.mark.parametrize("shapes", [((1, 4), (1, 4)), ((3, 4), (2, 4)), ((3, 4, 1), (3, 4, 1))])
def test_what_cannot_be_contrasted(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(TrainingError, match="cannot be contrasted"):
        nt_xent(*(torch.zeros(shape) for shape in shapes))


def test_triplets_by_loops() -> None:
    anchor, positive, negative = _normal(1, 4, 6), _normal(2, 4, 6), _normal(3, 4, 3, 6)
    for distance in ("cosine", "euclidean"):
        terms = []
        for i in range(4):
            for j in range(3):
                pairs = [(anchor[i], positive[i]), (anchor[i], negative[i, j])]
                near, far = (1 - _cosine(a, b) if distance == "cosine" else float((a - b).norm()) for a, b in pairs)
                terms.append(max(0.0, near - far + 0.4))
        found = triplet(anchor, positive, negative, margin=0.4, distance=distance)  # type: ignore[arg-type]
        assert float(found) == pytest.approx(np.mean(terms), rel=1e-12)


def test_euclidean_triplets_equal_torch() -> None:
    anchor, positive, negative = (_normal(seed, 8, 6) for seed in (1, 2, 3))
    expected = torch.nn.functional.triplet_margin_loss(anchor, positive, negative, margin=1.0, eps=0.0)
    found = triplet(anchor, positive, negative, margin=1.0, distance="euclidean")
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


def test_triplets_of_alike_separated_and_missing_images() -> None:
    same = torch.ones(3, 4, requires_grad=True)
    loss = triplet(same, same, same, margin=0.7, distance="euclidean")
    loss.backward()
    assert loss.item() == pytest.approx(0.7)
    assert same.grad is not None
    assert bool(same.grad.isfinite().all())
    unit = torch.eye(3)
    assert float(triplet(unit, unit, others(unit), margin=0.9)) == 0
    assert float(triplet(unit[:1], unit[:1], others(unit[:1]))) == 0


def test_all_rows_but_ones_own() -> None:
    rows = torch.arange(3).unsqueeze(1)
    assert others(rows).squeeze(-1).tolist() == [[1, 2], [0, 2], [0, 1]]
