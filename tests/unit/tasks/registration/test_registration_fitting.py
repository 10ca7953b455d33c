"""Maps fitted to landmarks against the maps that made them, SimpleITK's fit and plain least squares."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from autoseg.errors import RegistrationError
from autoseg.tasks.registration.transforms import Affine, fit_affine, matrix_of

KINDS = ("translation", "rigid", "similarity", "affine")
SIZES = {2: {"translation": 2, "rigid": 3, "similarity": 4, "affine": 6},
         3: {"translation": 3, "rigid": 6, "similarity": 7, "affine": 12}}  # fmt: skip


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_map_that_made_the_landmarks_is_found(kind: str, dimension: int) -> None:
    homogeneous = matrix_of(0.5 * rand(SIZES[dimension][kind]), kind, dimension)
    truth = Affine(homogeneous[:-1, :-1], homogeneous[:-1, -1], 30 * rand(dimension, seed=1))
    fixed = 20 * rand(12, dimension, seed=2) + 100
    for richer in KINDS[KINDS.index(kind) :]:
        found = fit_affine(fixed, truth(fixed), richer)
        torch.testing.assert_close(found(fixed), truth(fixed))
        torch.testing.assert_close(found.matrix, truth.matrix)


@pytest.mark.parametrize(("dimension", "kind", "itks"), [
    (2, "rigid", sitk.Euler2DTransform), (2, "affine", sitk.AffineTransform), (3, "affine", sitk.AffineTransform),
    (3, "rigid", sitk.VersorRigid3DTransform), (2, "similarity", sitk.Similarity2DTransform),
])  # fmt: skip
def test_a_fit_to_noisy_landmarks_is_no_worse_than_simpleitks(dimension: int, kind: str, itks: type) -> None:
    fixed, noise = 20 * rand(10, dimension), 3 * rand(10, dimension, seed=1)
    moving = fixed + noise + 5
    method = sitk.LandmarkBasedTransformInitializerFilter()
    method.SetFixedLandmarks(fixed.ravel().tolist())
    method.SetMovingLandmarks(moving.ravel().tolist())
    start = itks(dimension) if itks is sitk.AffineTransform else itks()
    reference = method.Execute(start)
    theirs = np.array([reference.TransformPoint(point) for point in fixed.tolist()])
    found = fit_affine(fixed, moving, kind)(fixed)
    assert (found - moving).square().sum() <= np.square(theirs - moving.numpy()).sum() + 1e-6
    if kind != "similarity":  # ITK's scale is the ratio of the spreads, not the one of least squares
        np.testing.assert_allclose(found, theirs, atol=1e-6)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_no_map_of_the_kind_near_the_fit_is_better(kind: str, dimension: int) -> None:
    fixed = 20 * rand(10, dimension)
    moving = fixed + 3 * rand(10, dimension, seed=1)
    best = fit_affine(fixed, moving, kind)
    least = (best(fixed) - moving).square().sum()
    for place in range(SIZES[dimension][kind]):
        for size in (-1e-3, 1e-3):
            nudge = torch.zeros(SIZES[dimension][kind], dtype=torch.float64)
            nudge[place] = size
            near = matrix_of(nudge, kind, dimension)
            other = best.then(Affine(near[:-1, :-1], near[:-1, -1], best.centre + best.translation))
            assert (other(fixed) - moving).square().sum() >= least


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_rigid_fit_does_not_mirror(dimension: int) -> None:
    fixed = rand(8, dimension)
    moving = fixed * torch.tensor([-1.0, *[1.0] * (dimension - 1)])
    for kind in ("rigid", "similarity"):
        assert torch.linalg.det(fit_affine(fixed, moving, kind).matrix) > 0


def test_two_points_fix_a_similarity_of_the_plane() -> None:
    fixed = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    moving = torch.tensor([[1.0, 1.0], [7.0, 1.0]])
    found = fit_affine(fixed, moving, "similarity")
    assert found.matrix.dtype == torch.float64
    np.testing.assert_allclose(found(torch.tensor([[0.0, 1.0], [1.0, 0.0]])), [[4.0, 1.0], [1.0, -2.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("fixed", "kind"),
    [
        (torch.zeros(0, 2), "translation"),
        (torch.ones(3, 2), "rigid"),
        (torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]), "affine"),
        (torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]), "rigid"),
        (torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]), "affine"),
        (rand(4, 2), "elastic"),
    ],
)
def test_landmarks_that_do_not_fix_the_map_are_refused(fixed: torch.Tensor, kind: str) -> None:
    with pytest.raises(RegistrationError):
        fit_affine(fixed, fixed, kind)


@pytest.mark.usefixtures("unchecked_shapes")
def test_landmarks_must_correspond() -> None:
    with pytest.raises(RegistrationError, match="do not correspond"):
        fit_affine(rand(4, 2), rand(5, 2), "rigid")
