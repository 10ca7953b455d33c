"""Grids and sampling against SimpleITK, polynomials and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from autoseg.data.image import Geometry, Image
from autoseg.errors import ImageError
from autoseg.tasks.registration.space import Grid, inside, sample

SHAPES = {2: (7, 9), 3: (5, 6, 7)}


def oblique(dimension: int, seed: int = 0, *, shape: tuple[int, ...] | None = None) -> sitk.Image:
    """A random image whose axes lie askew in the world."""
    rng = np.random.default_rng(seed)
    image = sitk.GetImageFromArray(rng.random(shape or SHAPES[dimension]))
    direction, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    image.SetSpacing(rng.uniform(0.5, 2.0, dimension).tolist())
    image.SetOrigin(rng.uniform(-50.0, 50.0, dimension).tolist())
    image.SetDirection(direction.ravel().tolist())
    return image


def grid_of(image: sitk.Image) -> Grid:
    """The grid of SimpleITK's image, read off the places of its first voxels."""
    dimension = image.GetDimension()
    origin = np.array(image.TransformIndexToPhysicalPoint([0] * dimension))
    steps = [
        np.array(image.TransformIndexToPhysicalPoint(unit.tolist())) - origin for unit in np.eye(dimension, dtype=int)
    ]
    matrix = np.stack(steps, axis=1)[::-1, ::-1]
    return Grid(image.GetSize()[::-1], tuple(map(tuple, matrix.tolist())), tuple(origin[::-1].tolist()))


def tensor_of(image: sitk.Image) -> torch.Tensor:
    """(1, *S) float64."""
    return torch.from_numpy(sitk.GetArrayFromImage(image))[None]


@pytest.mark.parametrize("dimension", [2, 3])
def test_voxels_lie_where_simpleitk_has_them(dimension: int) -> None:
    image = oblique(dimension)
    spacing, origin = image.GetSpacing()[::-1], image.GetOrigin()[::-1]
    matrix = np.array(image.GetDirection()).reshape(dimension, dimension)[::-1, ::-1]
    direction = np.eye(3)
    direction[3 - dimension :, 3 - dimension :] = matrix
    missing = 3 - dimension
    geometry = Geometry(
        (999.0,) * missing + spacing, (0.0,) * missing + origin, tuple(map(tuple, direction)), dimension
    )

    grid = Grid.of(geometry, SHAPES[dimension])

    points = grid.points(torch.zeros((), dtype=torch.float64))
    for index in np.ndindex(*grid.shape):
        expected = image.TransformIndexToPhysicalPoint(tuple(reversed(index)))
        assert points[index].tolist() == pytest.approx(expected[::-1], abs=1e-9)
    place = [value - 0.3 for value in image.GetSize()]
    expected = image.TransformContinuousIndexToPhysicalPoint(place)[::-1]
    assert grid.to_world(torch.tensor(place[::-1], dtype=torch.float64)).tolist() == pytest.approx(expected)
    assert grid.to_index(torch.tensor(expected, dtype=torch.float64)).tolist() == pytest.approx(place[::-1])
    assert grid.spacing == pytest.approx(spacing)
    back = grid.geometry()
    assert (back.spacing, back.origin, back.dimension) == (pytest.approx(geometry.spacing), geometry.origin, dimension)
    np.testing.assert_allclose(back.direction, direction, atol=1e-12)


def test_a_plane_and_a_volume_of_an_image() -> None:
    plane = Grid.of(Image(np.zeros((1, 1, 4, 5)), Geometry.plane((0.5, 2.0))))
    volume = Grid.of(Image(np.zeros((1, 1, 4, 5)), Geometry((3.0, 0.5, 2.0))))
    assert (plane.shape, plane.spacing, volume.shape, volume.spacing) == (
        (4, 5), (0.5, 2.0), (1, 4, 5), (3.0, 0.5, 2.0),
    )  # fmt: skip
    assert plane.diagonal == pytest.approx(math.hypot(2.0, 10.0))
    assert plane.centre == pytest.approx((0.75, 4.0))


@pytest.mark.parametrize("dimension", [2, 3])
def test_resizing_keeps_the_field_of_view(dimension: int) -> None:
    grid = grid_of(oblique(dimension))
    other = grid.resized([n + 3 for n in grid.shape])
    for corner in np.ndindex(*(2,) * dimension):
        first, second = (
            each.to_world(torch.tensor(corner, dtype=torch.float64) * torch.tensor(each.shape) - 0.5)
            for each in (grid, other)
        )
        assert first.tolist() == pytest.approx(second.tolist())
    assert other.diagonal == pytest.approx(grid.diagonal)
    assert other.centre == pytest.approx(grid.centre)


@pytest.mark.parametrize("spacing", [(1.0, 0.0, 1.0), (1.0, math.nan, 1.0)])
def test_a_place_that_is_none_is_refused(spacing: tuple[float, float, float]) -> None:
    with pytest.raises(ImageError, match="no usable place"):
        Grid.of(Geometry(spacing), (4, 4, 4))


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("outside", ["border", -1.0])
def test_sampling_equals_simpleitks(dimension: int, mode: str, outside: str | float) -> None:
    moving, fixed = oblique(dimension, 1), oblique(dimension, 2, shape=SHAPES[dimension][::-1])
    fixed.SetSpacing([1.5 * value for value in fixed.GetSpacing()])
    middles = [np.array(grid_of(image).centre[::-1]) for image in (fixed, moving)]
    fixed.SetOrigin((fixed.GetOrigin() + middles[1] - middles[0]).tolist())
    order = sitk.sitkLinear if mode == "linear" else sitk.sitkNearestNeighbor
    fill = 0.0 if outside == "border" else outside
    expected = sitk.Resample(
        moving,
        fixed,
        sitk.Transform(),
        order,
        fill,
        sitk.sitkFloat64,
        useNearestNeighborExtrapolator=outside == "border",
    )
    image, grid = tensor_of(moving), grid_of(moving)

    found = sample(image, grid, grid_of(fixed).points(image), mode=mode, outside=outside)

    same = inside(grid, grid_of(fixed).points(image)) if outside == "border" and mode == "linear" else slice(None)
    reference = sitk.GetArrayFromImage(expected)
    assert 0.2 < inside(grid, grid_of(fixed).points(image)).float().mean() < 1
    np.testing.assert_allclose(found[0].numpy()[same], reference[same], atol=1e-9)


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("shape", [(6, 1), (1, 6), (4, 1, 3), (1, 1, 1)])
def test_voxel_centres_have_their_own_values_and_borders_go_on(mode: str, shape: tuple[int, ...]) -> None:
    image = torch.rand((2, *shape), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    grid = Grid(shape, tuple(map(tuple, (2.0 * np.eye(len(shape))).tolist())), (5.0,) * len(shape))
    assert torch.allclose(sample(image, grid, grid.points(image), mode=mode), image)
    far = torch.full((3, len(shape)), -100.0, dtype=torch.float64)
    corner = image[(slice(None), *(0,) * len(shape))][:, None].expand(-1, 3)
    assert torch.allclose(sample(image, grid, far, mode=mode), corner)
    assert bool((sample(image, grid, far, mode=mode, outside=7.0) == 7.0).all())
    assert sample(image, grid, far[:0], mode=mode).shape == (2, 0)


@pytest.mark.parametrize("dimension", [2, 3])
def test_cubic_sampling_reproduces_quadratic_polynomials(dimension: int) -> None:
    grid = grid_of(oblique(dimension, shape=(8,) * dimension))
    index = grid.index(torch.zeros((), dtype=torch.float64))

    def polynomial(x: torch.Tensor) -> torch.Tensor:
        return 1.0 + (x * torch.arange(1, dimension + 1)).sum(-1) - 0.3 * x[..., 0] ** 2 + x[..., 0] * x[..., 1]

    places = 1 + 5 * torch.rand((50, dimension), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = sample(polynomial(index)[None], grid, grid.to_world(places), mode="cubic")[0]
    torch.testing.assert_close(found, polynomial(places), atol=1e-9, rtol=0)


def test_labels_keep_their_type_and_integers_interpolate() -> None:
    grid = Grid((2, 2), ((1.0, 0.0), (0.0, 1.0)), (0.0, 0.0))
    labels = torch.tensor([[[1, 3], [5, 7]]], dtype=torch.int16)
    points = torch.tensor([[0.5, 0.0], [0.4, 0.6]], dtype=torch.float64)
    nearest, linear = sample(labels, grid, points, mode="nearest"), sample(labels, grid, points)
    assert (nearest.dtype, nearest.tolist()) == (torch.int16, [[5, 3]])
    assert (linear.dtype, linear.tolist()) == (torch.float32, [[3.0, pytest.approx(1 + 0.4 * 4 + 0.6 * 2)]])


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_gradients_by_image_and_points(dimension: int, mode: str) -> None:
    grid = grid_of(oblique(dimension, shape=(4,) * dimension))
    random = torch.Generator().manual_seed(2)
    image = torch.rand((1, *grid.shape), dtype=torch.float64, generator=random, requires_grad=True)
    index = 0.3 + 2.4 * torch.rand((2, dimension), dtype=torch.float64, generator=random)
    points = grid.to_world(index).requires_grad_()
    assert torch.autograd.gradcheck(lambda i, p: sample(i, grid, p, mode=mode), (image, points), fast_mode=True)


def test_places_that_are_no_numbers_do_no_harm() -> None:
    image = torch.rand(1, 4, 5, 6, requires_grad=True)
    points = torch.full((7, 3), float("nan"), requires_grad=True)
    grid = Grid((4, 5, 6), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (0.0, 0.0, 0.0))
    values = sample(image, grid, points)
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert not inside(grid, points).any()
