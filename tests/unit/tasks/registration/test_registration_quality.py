"""Numbers about a registration, against fields whose values are known and formulas written out in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg.tasks.registration import warp
from autoseg.tasks.registration.quality import (
    LabelAgreement,
    Quality,
    coverage,
    deformation,
    gradient_norm,
    inverse_consistency,
    label_agreement,
    landmark_errors,
    log_jacobian_std,
    log_jacobian_std_learn2reg,
    nonpositive_percent,
)
from autoseg.tasks.registration.record import cautions
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Affine, Displacement, as_displacement, jacobian_determinant

TURN = math.radians(20)
GRID = Grid(
    shape=(10, 12, 14),
    matrix=(
        (2.0, 0.0, 0.0),
        (0.0, math.cos(TURN), -1.5 * math.sin(TURN)),
        (0.0, math.sin(TURN), 1.5 * math.cos(TURN)),
    ),
    origin=(5.0, -30.0, 12.0),
)
"""Anisotropic and oblique."""


def affine_field(matrix: Tensor, grid: Grid = GRID) -> Tensor:
    centre = torch.tensor(grid.centre, dtype=torch.float64)
    transform = Affine(matrix.double(), torch.zeros(grid.dimension, dtype=torch.float64), centre)
    return as_displacement(transform, grid, like=torch.zeros((), dtype=torch.float64)).field


def test_an_expansion_has_its_determinant_everywhere_and_no_unevenness() -> None:
    matrix = torch.diag(torch.tensor([1.1, 1.2, 0.9]))
    found = deformation(affine_field(matrix), GRID)
    assert found.jacobian_min == pytest.approx(1.1 * 1.2 * 0.9)
    assert found.jacobian_max == pytest.approx(1.1 * 1.2 * 0.9)
    assert found.log_jacobian_std == pytest.approx(0, abs=1e-9)
    assert found.log_jacobian_std_learn2reg == pytest.approx(0, abs=1e-9)
    assert found.nonpositive_percent == 0
    assert found.smoothness == pytest.approx(math.sqrt(0.1**2 + 0.2**2 + 0.1**2))
    assert found.voxels == 10 * 12 * 14


def test_a_translation_moves_but_does_not_deform() -> None:
    field = torch.zeros((3, *GRID.shape), dtype=torch.float64)
    field[0], field[2] = 3.0, -4.0
    found = deformation(field, GRID)
    assert (found.displacement_mean, found.displacement_max) == pytest.approx((5.0, 5.0))
    assert (found.smoothness, found.log_jacobian_std) == pytest.approx((0, 0), abs=1e-12)


def folded(share: float) -> tuple[Tensor, Grid]:
    """A plane whose first columns run backwards: u = -2 x there, so that the determinant is -1, elsewhere 1."""
    grid = Grid((8, 40), ((1.0, 0.0), (0.0, 1.0)), (0.0, 0.0))
    x = torch.arange(40, dtype=torch.float64)
    turn = 40 * share
    u = torch.where(x < turn, -2 * x, torch.full_like(x, -2 * turn))
    return torch.stack((torch.zeros(8, 40, dtype=torch.float64), u.expand(8, 40))), grid


def test_the_folded_share_is_counted() -> None:
    field, grid = folded(0.25)
    # columns 0..9 have slope -2; at column 10 the central difference sees half of the fold: 1 - 1 = 0, not positive
    found = deformation(field, grid)
    assert found.nonpositive_percent == pytest.approx(100 * 11 / 40)
    assert found.jacobian_min == pytest.approx(-1)
    assert found.log_jacobian_std == pytest.approx(0, abs=1e-12)  # of the others, whose determinant is 1


def test_a_mask_chooses_the_voxels() -> None:
    field, grid = folded(0.25)
    mask = torch.zeros(8, 40, dtype=torch.bool)
    mask[:, 20:] = True
    inside = deformation(field, grid, mask)
    assert inside.nonpositive_percent == 0
    assert inside.voxels == 8 * 20
    assert deformation(field, grid, torch.zeros_like(mask)).voxels == 8 * 40  # an empty one counts as none


def test_statistics_of_determinants_follow_their_definitions() -> None:
    determinants = torch.tensor([[-2.0, 0.0], [0.5, 2.0]], dtype=torch.float64)
    assert nonpositive_percent(determinants) == 50
    assert log_jacobian_std(determinants) == pytest.approx(math.log(2))  # of log 1/2 and log 2
    assert log_jacobian_std(determinants - 10) is None
    assert nonpositive_percent(torch.tensor([float("nan"), 1.0])) == 50
    assert log_jacobian_std_learn2reg(determinants) is None  # nothing is left without its margin


def test_learn2reg_s_number_is_computed_as_its_script_does() -> None:
    """Written out as the challenge has it: correlation with (-1/2, 0, 1/2) in voxels, two voxels cut off, + 3."""
    generator = np.random.default_rng(0)
    field = generator.normal(scale=1.5, size=(3, 9, 10, 11))
    gradient = np.stack([np.gradient(field, axis=axis) for axis in (1, 2, 3)], axis=1)[:, :, 2:-2, 2:-2, 2:-2]
    matrices = np.moveaxis(gradient, (0, 1), (-2, -1)) + np.eye(3)
    determinants = np.linalg.det(matrices)
    assert (determinants < -3).any(), "the clip is part of the test"
    expected = np.log((determinants + 3).clip(1e-9, 1e9)).std()
    grid = Grid((9, 10, 11), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (0.0, 0.0, 0.0))
    tensor = torch.from_numpy(field)
    assert deformation(tensor, grid).log_jacobian_std_learn2reg == pytest.approx(expected)
    # the determinant does not depend on the unit: the same displacement in mm on an oblique grid
    in_mm = torch.einsum("ij,j...->i...", torch.tensor(GRID.matrix, dtype=torch.float64), tensor)
    oblique = Grid((9, 10, 11), GRID.matrix, GRID.origin)
    assert deformation(in_mm, oblique).log_jacobian_std_learn2reg == pytest.approx(expected)


@pytest.mark.parametrize("rows", [1, 3])
def test_slabs_make_no_difference(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    field = torch.randn(3, *GRID.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = deformation(field, GRID)
    monkeypatch.setattr(warp, "_SLAB_VOXELS", rows * 12 * 14)
    assert deformation(field, GRID) == whole


def test_the_gradient_is_that_of_the_displacement_in_the_world() -> None:
    matrix = torch.eye(3) + 0.1 * torch.arange(9.0).reshape(3, 3)
    found = gradient_norm(affine_field(matrix), GRID)
    assert found.numpy() == pytest.approx(float((matrix - torch.eye(3)).norm()))
    before = affine_field(matrix)
    jacobian_determinant(before, GRID)
    assert torch.equal(before, affine_field(matrix)), "the field is not changed"


def test_there_and_back_again() -> None:
    matrix = torch.tensor([[1.1, 0.1, 0.0], [0.0, 0.9, 0.0], [0.0, 0.2, 1.0]], dtype=torch.float64)
    forward = Affine(matrix, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    exact = inverse_consistency(forward, forward.inverse(), GRID, GRID)
    assert exact.max < 1e-4
    away = Affine(matrix, forward.translation + 1, forward.centre).inverse()
    step = torch.linalg.inv(matrix) @ torch.ones(3, dtype=torch.float64)
    assert inverse_consistency(forward, away, GRID, GRID).mean == pytest.approx(float(step.norm()), rel=1e-4)


def test_coverage_is_the_share_within_the_moving_image() -> None:
    grid = Grid((4, 10), ((1.0, 0.0), (0.0, 1.0)), (0.0, 0.0))
    shift = torch.tensor([0.0, 3.0], dtype=torch.float64)
    moved = Affine(torch.eye(2, dtype=torch.float64), shift, torch.zeros(2, dtype=torch.float64))
    assert coverage(moved, grid, grid) == pytest.approx(0.7)
    field = torch.zeros(2, 4, 10)
    field[1] = 3.0
    assert coverage(Displacement(grid, field), grid, grid) == pytest.approx(0.7)


def test_errors_of_landmarks() -> None:
    fixed = np.array([[0.0, 0.0], [0.0, 10.0], [10.0, 0.0], [10.0, 10.0]])
    moving = np.add(fixed, (3.0, 4.0))
    warped = np.add(moving, [(0, 0), (1, 0), (0, 2), (6, 8)])
    found = landmark_errors(fixed, warped, moving, diagonal=100.0)
    assert found.count == 4
    assert (found.before.mean, found.before.max) == pytest.approx((5, 5))
    assert (found.after.mean, found.after.median, found.after.max) == pytest.approx((13 / 4, 1.5, 10))
    assert found.relative_after.median == pytest.approx(0.015)
    assert found.improved == 0.75


def test_scores_of_labels_before_and_after() -> None:
    fixed = np.zeros((1, 10, 10), np.int16)
    fixed[0, 2:6, 2:6] = 1
    before = np.roll(fixed, 2, axis=2)
    foreground = {"organ": (1,), "absent": (2,)}
    found = label_agreement(fixed, before, fixed, foreground, (999.0, 0.5, 0.5), dimension=2)
    assert (found["organ"].dice_before, found["organ"].dice) == (0.5, 1.0)
    assert (found["organ"].hd95_before, found["organ"].hd95) == (1.0, 0.0)
    assert found["absent"].dice is None


def test_numbers_without_evidence_are_warned_of() -> None:
    field, grid = folded(0.25)
    bad = Quality(deformation=deformation(field, grid), coverage=0.3)
    texts = " ".join(cautions(bad, "local-ncc", 1.0))
    assert "only evidence" in texts
    assert "local-ncc" in texts
    assert "folds space in 27.50 %" in texts
    assert "reaches 30 %" in texts
    same = np.ones((1, 4, 4), int)
    scores = label_agreement(same, same, same, {"organ": (1,)}, (1.0, 1.0, 1.0), dimension=2)
    quiet = deformation(torch.zeros(2, 8, 40), grid)
    assert cautions(Quality(deformation=quiet, coverage=1.0, labels=scores), "ncc", 1.0) == ()


def test_getting_worse_is_warned_of() -> None:
    quiet = deformation(torch.zeros(2, 8, 40), Grid((8, 40), ((1.0, 0.0), (0.0, 1.0)), (0.0, 0.0)))
    fixed = np.zeros((1, 10, 10), np.int16)
    fixed[0, 2:6, 2:6] = 1
    worse = label_agreement(fixed, fixed, np.roll(fixed, 2, axis=2), {"organ": (1,)}, (1.0, 1.0, 1.0), dimension=2)
    points = np.zeros((3, 2))
    marks = landmark_errors(points, points + 2, points, 10.0)
    found = cautions(Quality(deformation=quiet, coverage=1.0, labels=worse, landmarks=marks), "ncc", 1.0)
    assert "mean Dice 1.000 became 0.500" in found[0]
    assert "HD95 0.00 mm became 2.00 mm" in found[1]
    assert "0.00 mm became 2.83 mm" in found[2]


def test_one_label_that_got_worse_is_warned_of_though_the_mean_is_better() -> None:
    quiet = deformation(torch.zeros(2, 8, 40), Grid((8, 40), ((1.0, 0.0), (0.0, 1.0)), (0.0, 0.0)))
    scores = {
        "head": LabelAgreement(dice_before=0.5, dice=0.9, hd95_before=3.0, hd95=1.0),
        "tail": LabelAgreement(dice_before=0.8, dice=0.7, hd95_before=1.0, hd95=1.9),
        "absent": LabelAgreement(dice_before=None, dice=None, hd95_before=None, hd95=None),
    }
    (found,) = cautions(Quality(deformation=quiet, coverage=1.0, labels=scores), "ncc", 1.0)
    assert "tail agrees less than before: Dice 0.800 became 0.700" in found
