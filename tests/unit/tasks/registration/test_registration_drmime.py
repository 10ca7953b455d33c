import math

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg import plugins
from autoseg.data.image import Geometry, Image
from autoseg.errors import ConfigurationError, RegistrationError
from autoseg.tasks.registration import drmime
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult, register
from autoseg.tasks.registration.pair import ImagePair, prepare
from autoseg.tasks.registration.similarities.mine import mine
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Affine

SHAPES = {2: (72, 88), 3: (28, 32, 30)}
SPACINGS = {2: (0.8, 0.6), 3: (1.5, 1.0, 1.2)}


def scene(points: np.ndarray, extent: np.ndarray, seed: int = 3) -> np.ndarray:
    """A smooth picture of blobs without symmetry, defined everywhere: (...,) from points (..., D) in mm."""
    random = np.random.default_rng(seed)
    value = np.zeros(points.shape[:-1])
    for _ in range(14):
        centre = extent * random.uniform(0.1, 0.9, size=len(extent))
        width = extent * random.uniform(0.06, 0.16, size=len(extent))
        value += random.uniform(0.3, 1.0) * np.exp(-(((points - centre) / width) ** 2).sum(-1) / 2)
    return value


def other_modality(value: np.ndarray) -> np.ndarray:
    """Neither rising nor falling: no linear relation is left to the first modality."""
    return np.sin(6.0 * value) + 0.3 * value


def made_pair(dimension: int, truth: Affine) -> ImagePair:
    """A pair whose points correspond by `truth`, the moving image in the other modality."""
    geometry = Geometry.plane(SPACINGS[2]) if dimension == 2 else Geometry(spacing=SPACINGS[3])
    shape = SHAPES[dimension]
    grid = Grid.of(geometry, shape)
    extent = np.asarray(shape) * np.asarray(grid.spacing)
    points = grid.points(torch.zeros((), dtype=torch.float64))
    images = [scene(points.numpy(), extent), other_modality(scene(truth.inverse()(points).numpy(), extent))]
    noise = np.random.default_rng(0)
    arrays = [(one + noise.normal(0, 0.01, one.shape)).astype(np.float32) for one in images]
    full = (1, 1, *shape) if dimension == 2 else (1, *shape)
    return prepare(*(Image(array.reshape(full), geometry) for array in arrays))


def turned(dimension: int, *, stretch: float = 0.0) -> Affine:
    """About 5 degrees and some mm; with a stretch along the last axis, and a shear."""
    angle = math.radians(5.0)
    matrix = torch.eye(dimension, dtype=torch.float64)
    matrix[-2:, -2:] = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix[-1, -1] += stretch
    matrix[0, -1] += stretch / 2
    grid = Grid.of(Geometry.plane(SPACINGS[2]) if dimension == 2 else Geometry(spacing=SPACINGS[3]), SHAPES[dimension])
    shift = torch.tensor([2.0, -3.0, 2.5][:dimension], dtype=torch.float64)
    return Affine(matrix, shift, torch.tensor(grid.centre, dtype=torch.float64))


def mean_error(result: RegistrationResult, pair: ImagePair, truth: Affine) -> float:
    """Mean distance in mm over the fixed image's voxels."""
    points = pair.fixed_grid.points(torch.zeros((), dtype=torch.float64))
    return float((result.transform(points) - truth(points)).norm(dim=-1).mean())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which the map need not be good."""
    monkeypatch.setattr(drmime, "_WARM_UP", 10)
    monkeypatch.setattr(drmime, "SAMPLES", 256)


@pytest.mark.parametrize(
    ("dimension", "kind", "stretch", "error"),
    [(2, "affine", 0.06, 0.3), (2, "rigid", 0.0, 0.3), (3, "affine", 0.05, 0.6)],
)
def test_a_known_map_between_two_modalities_is_recovered(
    dimension: int, kind: str, stretch: float, error: float
) -> None:
    truth = turned(dimension, stretch=stretch)
    pair = made_pair(dimension, truth)
    result = register(pair, RegistrationOptions(stages=("center", kind), iterations=160), method="drmime", seed=0)  # type: ignore[arg-type]
    identity = RegistrationResult(Affine.identity(dimension), "none")
    assert mean_error(identity, pair, truth) > 3.0
    assert mean_error(result, pair, truth) < error
    (report,) = result.stages
    assert report.name == kind
    assert report.after < report.before - 0.2
    assert len(report.history) == report.iterations
    assert np.mean(report.history[-20:]) < np.mean(report.history[80:100]) - 0.2
    assert not result.warnings


def test_a_rigid_map_does_not_stretch(quick: None) -> None:
    pair = made_pair(2, turned(2))
    result = register(pair, RegistrationOptions(stages=("rigid",), iterations=20), method="drmime")
    assert isinstance(result.transform, Affine)
    matrix = result.transform.matrix
    assert torch.allclose(matrix @ matrix.T, torch.eye(2, dtype=torch.float64), atol=1e-9)
    assert result.transform.matrix.dtype == torch.float64


def test_equal_seeds_give_equal_maps_and_others_do_not(quick: None) -> None:
    pair = made_pair(2, turned(2))
    first, again, other = (
        register(pair, RegistrationOptions(iterations=20), method="drmime", seed=seed).transform for seed in (0, 0, 1)
    )
    points = pair.fixed_grid.points(torch.zeros((), dtype=torch.float64))
    assert torch.equal(first(points), again(points))
    assert not torch.equal(first(points), other(points))


def test_points_that_do_not_count_have_no_influence_and_no_gradient() -> None:
    network = mine(hidden=(8,), seed=0).network
    generator = torch.Generator().manual_seed(0)
    fixed, warped = (torch.randn((2, 50, 1), generator=generator) for _ in range(2))
    counts = torch.rand((2, 50), generator=generator) < 0.7
    spoilt = torch.where(counts[..., None], warped, torch.nan).requires_grad_()
    clean = drmime.bound(network, fixed, warped, counts)
    assert torch.equal(drmime.bound(network, fixed, spoilt, counts), clean)
    (gradient,) = torch.autograd.grad(drmime.bound(network, fixed, spoilt, counts).sum(), spoilt)
    assert torch.isfinite(gradient).all()
    assert not gradient[~counts].any()


def test_the_bound_is_that_of_the_similarity_where_all_points_count() -> None:
    similarity = mine(hidden=(8,), seed=0)
    generator = torch.Generator().manual_seed(0)
    fixed, warped = (torch.randn((1, 40, 1), generator=generator) for _ in range(2))
    whole = drmime.bound(similarity.network, fixed, warped, torch.ones((1, 40), dtype=torch.bool))
    assert torch.allclose(whole[0], similarity.bound(fixed[0], warped[0]))


def test_what_the_other_image_does_not_show_does_not_count() -> None:
    """Places that leave the view, or lie outside of either mask."""
    pair = made_pair(2, turned(2))
    fixed_mask, moving_mask = (torch.zeros(SHAPES[2], dtype=torch.bool) for _ in range(2))
    fixed_mask[:, 44:] = True
    moving_mask[:36] = True
    masked = ImagePair(pair.fixed, pair.moving, pair.fixed_grid, pair.moving_grid, fixed_mask, moving_mask)
    levels = drmime._levels(masked, 2)
    objective = drmime.InformationBounds(masked, Affine.identity(2), levels, mine(hidden=(8,)).network)
    points = objective.draw(4000, torch.Generator().manual_seed(0))
    half = pair.fixed_grid.to_index(points)[..., 1]
    assert float(half.min()) >= 43.5
    assert abs(float(half.mean()) - 65.5) < 0.5  # uniform over columns 43.5 to 87.5
    _, share = objective.bounds([Affine.identity(2)] * 2, points)
    assert abs(float(share) - 0.5) < 0.03
    away = Affine(torch.eye(2), torch.tensor([0.0, pair.fixed_grid.spacing[1] * 22]), torch.zeros(2))
    _, share = objective.bounds([away] * 2, points)
    assert abs(float(share) - 0.25) < 0.03


def test_a_fit_that_diverges_stops_and_returns_the_best_so_far(quick: None) -> None:
    pair = made_pair(2, turned(2))
    result = register(pair, RegistrationOptions(stages=("affine",), learning_rate=1e4), method="drmime")
    (report,) = result.stages
    assert report.stopped == "diverged"
    assert report.after <= report.before
    assert any("diverged" in warning for warning in result.warnings)
    points = pair.fixed_grid.points(torch.zeros((), dtype=torch.float64))
    assert torch.allclose(result.transform(points), points)


def test_the_stage_center_finds_an_image_in_another_place(quick: None) -> None:
    pair = made_pair(2, turned(2))
    moved = pair.moving_grid
    place = Grid(moved.shape, moved.matrix, (moved.origin[0] + 500.0, moved.origin[1] - 500.0))
    far = ImagePair(pair.fixed, pair.moving, pair.fixed_grid, place)
    with pytest.raises(RegistrationError, match="center"):
        register(far, RegistrationOptions(stages=("rigid",)), method="drmime")
    result = register(far, RegistrationOptions(stages=("center", "rigid"), iterations=20), method="drmime")
    shift = result.transform(torch.tensor([pair.fixed_grid.centre], dtype=torch.float64))[0]
    assert (shift - torch.tensor(place.centre, dtype=torch.float64)).norm() < 25.0


def test_what_it_does_not_do_is_said(quick: None) -> None:
    pair = made_pair(2, turned(2))
    with pytest.raises(ConfigurationError, match="similarity of its own"):
        register(pair, RegistrationOptions(similarity="ncc"), method="drmime")
    asked = register(pair, RegistrationOptions(stages=("affine", "deformable"), iterations=1), method="drmime")
    assert any("deformable stage was left out" in warning for warning in asked.warnings)
    unasked = register(pair, RegistrationOptions(iterations=1), method="drmime")
    assert not any("deformable" in warning for warning in unasked.warnings)


def test_it_is_a_plug_in() -> None:
    assert plugins.resolve("registration", "drmime") is drmime.drmime


def test_images_of_constant_channels_keep_a_finite_loss(quick: None) -> None:
    pair = made_pair(2, turned(2))
    flat: Tensor = torch.cat((pair.moving, torch.zeros_like(pair.moving)))
    both = ImagePair(torch.cat((pair.fixed, pair.fixed)), flat, pair.fixed_grid, pair.moving_grid)
    result = register(both, RegistrationOptions(stages=("translation",), iterations=20), method="drmime")
    assert all(math.isfinite(value) for value in result.stages[0].history)
