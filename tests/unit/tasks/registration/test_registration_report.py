"""The page and the picture of a registration."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Picture

from autoseg.data.image import Geometry
from autoseg.tasks.registration.quality import Deformation, DistanceStatistics, LabelAgreement, LandmarkErrors, Quality
from autoseg.tasks.registration.record import RegistrationRecord, StageRecord
from autoseg.tasks.registration.report.figures import RegistrationView, checkerboard, registration_picture
from autoseg.tasks.registration.report.page import deformation_rows, headline, render_registration

SPACE = Deformation(
    voxels=1000,
    nonpositive_percent=0.125,
    log_jacobian_std=0.1234,
    log_jacobian_std_learn2reg=0.0321,
    jacobian_min=-0.5,
    jacobian_max=2.0,
    displacement_mean=1.0,
    displacement_max=3.0,
    smoothness=0.2,
)


def errors(value: float) -> DistanceStatistics:
    return DistanceStatistics(mean=value, median=value, p90=value, max=value)


def record(**quality: object) -> RegistrationRecord:
    return RegistrationRecord(
        fixed="a <fixed>.nii.gz",
        moving="moving.nii.gz",
        dimension=3,
        method="multi-stage",
        options={"stages": ["center", "affine"], "levels": None},
        seed=0,
        device="cpu",
        stages=(
            StageRecord(
                name="affine", similarity="ncc", before=1, after=0.5, iterations=7, seconds=1.5, stopped="converged"
            ),
        ),
        quality=Quality(deformation=SPACE, coverage=1.0, **quality),  # type: ignore[arg-type]
        outside=-1024.0,
        warnings=("Look at it.",),
        command=("autoseg", "register", "a <fixed>.nii.gz"),
    )


def test_the_headline_says_what_there_is_evidence_for() -> None:
    assert headline(record()) == "Registered; no labels or landmarks say how well."
    scores = {"1": LabelAgreement(dice_before=0.5, dice=0.75, hd95_before=None, hd95=2.0)}
    marks = LandmarkErrors(
        count=4,
        before=errors(5),
        after=errors(1),
        relative_before=errors(0.05),
        relative_after=errors(0.01),
        improved=1.0,
    )
    found = record(labels=scores, landmarks=marks)
    assert headline(found) == (
        "Mean Dice 0.500 before, 0.750 after; median distance of 4 landmarks 5.00 mm before, 1.00 mm after."
    )
    page = render_registration(found, b"png")
    assert "label 1" in page
    assert "0.0100" in page
    assert "nearest neighbour" in page


def test_names_are_escaped_and_numbers_are_there() -> None:
    page = render_registration(record(), b"png")
    assert "a &lt;fixed&gt;.nii.gz" in page
    assert "<fixed>" not in page
    assert "Look at it." in page
    assert "sitk.sitkLinear, -1024.0)" in page
    assert "0.125 %" in dict(deformation_rows(record())).values()
    assert "0.0321" not in page
    assert "0.032" in page


def view(geometry: Geometry, shape: tuple[int, int, int], *, labels: bool) -> RegistrationView:
    generator = np.random.default_rng(0)
    fixed, before, after = generator.random((3, *shape))
    before[:, :3] = np.nan
    determinants = np.ones(shape)
    determinants[0, 0, 0] = -1.0
    steps = np.zeros((3, *shape))
    masks = (fixed > 0.5).astype(np.uint8) if labels else None
    return RegistrationView(fixed, before, after, steps, determinants, geometry, masks, masks)


@pytest.mark.parametrize("labels", [False, True])
def test_planes_and_volumes_are_drawn(labels: bool) -> None:
    sizes = []
    oblique = Geometry(spacing=(3.0, 1.0, 1.0), direction=((0, 1, 0), (0, 0, -1), (1, 0, 0)))
    for geometry, shape in ((Geometry.plane(), (1, 20, 30)), (oblique, (6, 14, 12))):
        content = registration_picture(view(geometry, shape, labels=labels))
        sizes.append(Picture.open(io.BytesIO(content)).size)
    assert all(min(size) > 500 for size in sizes)


def test_a_checkerboard_has_square_tiles_in_mm() -> None:
    zeros, ones = np.zeros((8, 32)), np.ones((8, 32))
    board = checkerboard(zeros, ones, (2.0, 1.0))  # 16 x 32 mm: tiles of 4 mm are 2 x 4 pixels
    assert board[:2, :4].tolist() == [[0] * 4] * 2
    assert board[2:4, :4].tolist() == [[1] * 4] * 2
    assert board[:2, 4:8].tolist() == [[1] * 4] * 2
    assert board.mean() == 0.5
