"""Pyramids, the loop that fits, and how stages follow each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg.data.image import Geometry, Image
from autoseg.errors import RegistrationError
from autoseg.tasks.registration.levels import levels_of
from autoseg.tasks.registration.linear import centred
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult, register
from autoseg.tasks.registration.optimize import minimise
from autoseg.tasks.registration.pair import ImagePair, prepare
from autoseg.tasks.registration.pyramid import pyramid, shapes
from autoseg.tasks.registration.similarities.intensity import ncc, ssd
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Affine


def grid(shape: tuple[int, ...], spacing: tuple[float, ...]) -> Grid:
    matrix = tuple(
        tuple(step if one == other else 0.0 for other in range(len(shape))) for one, step in enumerate(spacing)
    )
    return Grid(shape, matrix, (0.0,) * len(shape))


def test_spacings_double_and_the_finest_axes_shrink_first() -> None:
    assert shapes(grid((20, 128, 128), (4.0, 1.0, 1.0)), 4) == [
        (10, 16, 16),
        (20, 32, 32),
        (20, 64, 64),
        (20, 128, 128),
    ]


def test_an_axis_keeps_its_least_voxels() -> None:
    assert shapes(grid((10, 64), (1.0, 1.0)), 4, least=6)[0] == (10, 8)


def test_levels_show_the_same_place_in_the_world() -> None:
    """A smooth bump keeps its centre in mm at every level."""
    whole = grid((48, 64), (1.0, 1.5))
    points = whole.points(torch.zeros(()))
    image = torch.exp(-((points - torch.tensor([20.0, 50.0])) / 8.0).square().sum(-1) / 2)[None]
    for small, place in pyramid(image, whole, 3):
        weights = small[0] / small.sum()
        middle = (place.points(torch.zeros(())) * weights[..., None]).sum((0, 1))
        torch.testing.assert_close(middle, torch.tensor([20.0, 50.0]), atol=0.3, rtol=0)


def test_both_images_are_compared_at_details_of_the_same_size() -> None:
    random = np.random.default_rng(0)
    fine = Image(random.normal(size=(1, 1, 128, 128)).astype(np.float32), Geometry.plane((0.5, 0.5)))
    coarse = Image(random.normal(size=(1, 1, 32, 32)).astype(np.float32), Geometry.plane((2.0, 2.0)))
    for level in levels_of(prepare(coarse, fine), 2, least=6):
        assert level.moving_grid.spacing == level.fixed_grid.spacing


def quadratic(values: Tensor) -> Tensor:
    return (values - torch.tensor([3.0, -1.0])).square().sum()


def test_the_loop_finds_a_minimum_and_ends_when_it_settles() -> None:
    values = torch.zeros(2, requires_grad=True)
    fit = minimise(lambda: quadratic(values), [values], iterations=2000, learning_rate=0.1)
    assert fit.stopped == "converged"
    assert len(fit.history) < 2000
    torch.testing.assert_close(values.detach(), torch.tensor([3.0, -1.0]), atol=0.2, rtol=0)


def test_the_best_state_is_kept_though_the_last_is_worse() -> None:
    values = torch.tensor([2.9, -1.0], requires_grad=True)
    fit = minimise(lambda: quadratic(values), [values], iterations=7, learning_rate=5.0)
    assert fit.loss == pytest.approx(0.01, rel=1e-4)
    torch.testing.assert_close(values.detach(), torch.tensor([2.9, -1.0]))


def test_a_fit_that_diverges_stops_with_the_best_so_far() -> None:
    values = torch.zeros(2, requires_grad=True)
    calls = 0

    def loss() -> Tensor:
        nonlocal calls
        calls += 1
        return quadratic(values) if calls < 8 else quadratic(values) * math.nan

    fit = minimise(loss, [values], iterations=100, learning_rate=0.1)
    assert fit.stopped == "diverged"
    assert calls <= 20
    assert torch.isfinite(values).all()
    assert quadratic(values.detach()) == pytest.approx(fit.loss, rel=1e-5)


def test_a_fit_that_loses_the_overlap_stops_and_one_without_any_says_so() -> None:
    values = torch.zeros(2, requires_grad=True)
    calls = 0

    def loss() -> Tensor:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise RegistrationError("nothing overlaps")
        return quadratic(values)

    assert minimise(loss, [values], iterations=50, learning_rate=0.1).stopped == "diverged"
    with pytest.raises(RegistrationError):
        minimise(loss, [values], iterations=50, learning_rate=0.1)


def blobs(origin: tuple[float, float, float] = (0.0, 0.0, 0.0), *, seed: int = 0) -> Image:
    random, shape = np.random.default_rng(seed), (26, 28, 30)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).astype(float)
    array = random.normal(0, 0.01, shape)
    for _ in range(25):
        centre, width = random.uniform(4, np.array(shape) - 4), random.uniform(2.0, 5.0)
        array += random.uniform(0.2, 1) * np.exp(-(((places - centre) / width) ** 2).sum(-1) / 2)
    return Image(array.astype(np.float32)[None], Geometry(origin=origin))


def away(result: RegistrationResult, pair: ImagePair, shift: tuple[float, ...]) -> float:
    points = pair.fixed_grid.points(torch.zeros((), dtype=torch.float64))
    wanted = points + torch.tensor(shift, dtype=torch.float64)
    return float((result.transform(points) - wanted).norm(dim=-1).mean())


def test_centring_lays_fields_of_view_on_each_other() -> None:
    pair = prepare(blobs(), blobs((12.0, -7.0, 5.0)))
    found = centred(pair, ncc())
    torch.testing.assert_close(found.translation, torch.tensor([12.0, -7.0, 5.0], dtype=torch.float64))


@pytest.mark.parametrize("simultaneous", [False, True])
@pytest.mark.parametrize("kind", ["translation", "rigid", "similarity", "affine"])
def test_every_linear_stage_finds_a_shift(kind: str, simultaneous: bool) -> None:
    pair = prepare(blobs(), blobs((2.0, -3.0, 1.5)))
    options = RegistrationOptions(stages=(kind,), similarity="ncc", simultaneous=simultaneous)  # type: ignore[arg-type]
    result = register(pair, options)
    assert away(result, pair, (2.0, -3.0, 1.5)) < 0.25
    assert isinstance(result.transform, Affine)


def test_a_plane_that_was_turned_over_half_is_found() -> None:
    """Sections lie on their glass in any way; a fit from the start alone would not turn so far."""
    random = np.random.default_rng(5)
    array = np.kron(random.uniform(size=(16, 16)), np.ones((8, 8)))
    fixed = Image(array[None, None].astype(np.float32), Geometry.plane())
    moving = fixed.with_array(np.ascontiguousarray(np.rot90(fixed.array, 2, axes=(2, 3))))
    result = register(prepare(fixed, moving), RegistrationOptions(stages=("center", "rigid")))
    corner = result.transform(torch.tensor([[0.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(corner, torch.tensor([[127.0, 127.0]], dtype=torch.float64), atol=1.0, rtol=0)


def test_no_stage_makes_its_similarity_worse_and_one_that_gains_nothing_is_dropped() -> None:
    same = prepare(blobs(), blobs())
    result = register(same, RegistrationOptions(stages=("rigid", "affine"), similarity="ncc"))
    assert all(stage.after <= stage.before for stage in result.stages)
    assert away(result, same, (0.0, 0.0, 0.0)) < 0.05
    unlike = register(prepare(blobs(), blobs(seed=3)))
    assert all(stage.after <= stage.before or "dropped" in stage.stopped for stage in unlike.stages)


def test_the_same_seed_gives_the_same_transform() -> None:
    pair = prepare(blobs(), blobs((2.0, 1.0, 0.0)))
    options = RegistrationOptions(stages=("translation",), similarity="mine", iterations=15, levels=2)
    first, second = (register(pair, options, seed=4).transform for _ in range(2))
    assert isinstance(first, Affine)
    assert isinstance(second, Affine)
    torch.testing.assert_close(first.translation, second.translation, atol=0, rtol=0)


def test_a_squared_difference_is_no_number_of_the_overlap_alone() -> None:
    """Pushing the images apart until little is compared is no solution: such a fit has diverged."""
    dark = blobs()
    bright = dark.with_array(1 - dark.array)
    result = register(prepare(dark, bright), RegistrationOptions(stages=("translation",), similarity="ssd"))
    pair = prepare(dark, bright)
    places = result.transform(pair.fixed_grid.points(torch.zeros((), dtype=torch.float64)))
    index = pair.moving_grid.to_index(places)
    last = torch.tensor(pair.moving_grid.shape) - 0.5
    share = ((index > -0.5) & (index < last)).all(-1).double().mean()
    assert float(share) > 0.25
    assert ssd()(pair.fixed, pair.fixed) == 0
