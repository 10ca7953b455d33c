"""BYOL, DINO and I-JEPA against lightly, loops and analytic values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg.errors import TrainingError
from autoseg.tasks.pretraining.losses.distillation import byol, dino, jepa, next_centre

# lightly 1.5.22 (torch 2.13.0) in double precision: NegativeCosineSimilarity()(_normal(1, 6, 16), _normal(2, 6, 16));
# DINOLoss(output_dim=12, teacher_temp=0.04, student_temp=0.1) on teacher _normal(3, 2, 5, 12) and student
# _normal(4, 6, 5, 12), then its centre, then on _normal(5, 2, 5, 12) and _normal(6, 6, 5, 12).
NEGATIVE_COSINE = -0.08689254584950766
DINO_FIRST, DINO_SECOND = 17.20660497343038, 13.786076028643702
DINO_CENTRE = [
    -0.005363199753599515, 0.014442324562936992, 0.00978772393053167, -0.0320170683093773, -0.009685499827233452,
    -0.006123637615300735, -0.03719269525842155, -0.021157687974204278, -0.03028170442647138, 0.05041355559897143,
    0.03746821871118938, -0.009090387259230455,
]  # fmt: skip


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_byol_is_lightlys_negative_cosine_doubled_and_lifted() -> None:
    found = float(byol(_normal(1, 6, 16), _normal(2, 6, 16)))
    assert found == pytest.approx(2 + 2 * NEGATIVE_COSINE, rel=1e-13)


def test_byol_is_the_squared_distance_of_directions() -> None:
    prediction, target = _normal(3, 5, 7), _normal(4, 5, 7)
    unit = [values / values.norm(dim=1, keepdim=True) for values in (prediction, target)]
    expected = (unit[0] - unit[1]).square().sum(1).mean()
    assert float(byol(prediction, target)) == pytest.approx(float(expected), rel=1e-12)
    assert float(byol(prediction, 3 * prediction)) == pytest.approx(0, abs=1e-12)
    assert float(byol(prediction, -prediction)) == pytest.approx(4, rel=1e-12)


def test_dino_equals_lightly_over_two_batches() -> None:
    centre = torch.zeros(12, dtype=torch.float64)
    teacher, student = _normal(3, 2, 5, 12), _normal(4, 6, 5, 12)
    assert float(dino(list(student), list(teacher), centre)) == pytest.approx(DINO_FIRST, rel=1e-13)
    centre = next_centre(centre, list(teacher), 0.9)
    np.testing.assert_allclose(centre.numpy(), DINO_CENTRE, rtol=1e-12)
    again = dino(list(_normal(6, 6, 5, 12)), list(_normal(5, 2, 5, 12)), centre)
    assert float(again) == pytest.approx(DINO_SECOND, rel=1e-13)


def test_dino_by_loops_compares_each_view_with_every_other_large_one() -> None:
    student, teacher, centre = _normal(1, 4, 3, 5), _normal(2, 2, 3, 5), _normal(3, 5)
    terms = []
    for t in range(2):
        for s in range(4):
            for sample in range(3):
                if s != t:
                    wanted = np.exp((teacher[t, sample] - centre).numpy() / 0.05)
                    logits = student[s, sample].numpy() / 0.2
                    found = logits - math.log(np.exp(logits).sum())
                    terms.append(-float((wanted / wanted.sum() * found).sum()))
    loss = dino(list(student), list(teacher), centre, student_temperature=0.2, teacher_temperature=0.05)
    assert float(loss) == pytest.approx(np.mean(terms), rel=1e-12)


def test_dino_of_a_student_that_knows_nothing() -> None:
    blank = [torch.zeros(4, 16, dtype=torch.float64)] * 3
    teacher = list(_normal(1, 2, 4, 16))
    assert float(dino(blank, teacher, torch.zeros(16))) == pytest.approx(math.log(16), rel=1e-12)
    with pytest.raises(TrainingError, match="no view that differs"):
        dino(blank[:1], teacher[:1], torch.zeros(16))


def test_the_centre_of_a_steady_teacher_in_closed_form() -> None:
    logits, centre = list(_normal(1, 2, 5, 3)), torch.zeros(3, dtype=torch.float64)
    for _ in range(7):
        centre = next_centre(centre, logits, 0.8)
    mean = torch.stack(logits).flatten(0, 1).mean(0)
    torch.testing.assert_close(centre, (1 - 0.8**7) * mean)


def test_the_mean_of_the_centres_of_two_processes_is_that_of_the_whole_batch() -> None:
    logits, centre = _normal(1, 2, 6, 3), _normal(2, 3)
    parts = [next_centre(centre, list(logits[:, part])) for part in (slice(0, 3), slice(3, 6))]
    torch.testing.assert_close((parts[0] + parts[1]) / 2, next_centre(centre, list(logits)))


def test_jepa_by_loops() -> None:
    prediction, target = 2 * _normal(1, 2, 3, 4, 4), _normal(2, 2, 3, 4, 4)
    blocks = torch.from_numpy(np.random.default_rng(3).random((2, 5, 4, 4)) < 0.3)
    terms = []
    for sample, _, y, x in blocks.nonzero().tolist():
        for feature in range(3):
            apart = abs(float(prediction[sample, feature, y, x] - target[sample, feature, y, x]))
            terms.append(apart**2 / 2 if apart < 1 else apart - 0.5)
    assert float(jepa(prediction, target, blocks)) == pytest.approx(np.mean(terms), rel=1e-12)


def test_jepa_sees_target_blocks_alone() -> None:
    prediction, target = _normal(1, 2, 3, 4, 4), _normal(2, 2, 3, 4, 4)
    blocks = torch.zeros(2, 2, 4, 4, dtype=torch.bool)
    assert float(jepa(prediction, target, blocks)) == 0
    blocks[:, 0, 1:3, 1:3] = True
    value = float(jepa(prediction, target, blocks))
    elsewhere = torch.where(blocks.any(1, keepdim=True), prediction, prediction + 9)
    assert float(jepa(elsewhere, target, blocks)) == value


def test_nothing_flows_back_to_the_teacher() -> None:
    prediction, target = _normal(1, 4, 6).requires_grad_(), _normal(2, 4, 6).requires_grad_()
    grid = torch.ones(4, 1, 1, 1, dtype=torch.bool)
    cells = prediction.view(4, 6, 1, 1), target.view(4, 6, 1, 1)
    loss = byol(prediction, target) + dino([prediction] * 2, [target], torch.zeros(6)) + jepa(*cells, grid)
    loss.backward()
    assert prediction.grad is not None
    assert target.grad is None
