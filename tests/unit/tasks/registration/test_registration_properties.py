"""Maps and their inverses, on grids of any shape, spacing and direction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autoseg.data.image import Image
from autoseg.tasks.registration.files import read_displacement, read_transform, write_displacement, write_transform
from autoseg.tasks.registration.space import Grid, sample
from autoseg.tasks.registration.transforms import (
    Affine,
    BSpline,
    Composite,
    Displacement,
    SpatialTransform,
    Velocity,
    as_displacement,
    basis,
    compose,
    compose_fields,
    fit_affine,
    invert_field,
    lattice,
    transform_of,
)
from autoseg.tasks.registration.warp import warp_image, warp_labels

SEEDS = st.integers(0, 2**32 - 1)
DIMENSIONS = st.sampled_from((2, 3))
KINDS = st.sampled_from(("translation", "rigid", "similarity", "affine"))
LIKE = torch.zeros((), dtype=torch.float64)


def rand(seed: int, *shape: int) -> Tensor:
    """Uniform in -1 to 1, float64."""
    return 2 * torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1


@st.composite
def grids(draw: st.DrawFn, least: int = 3, most: int = 9) -> Grid:
    """A turned grid of 2 or 3 axes, perhaps left-handed."""
    dimension = draw(DIMENSIONS)
    shape = draw(st.tuples(*[st.integers(least, most)] * dimension))
    spacing = draw(st.tuples(*[st.floats(0.5, 4)] * dimension))
    seed = draw(SEEDS)
    direction, _ = torch.linalg.qr(rand(seed, dimension, dimension))
    matrix = (direction * torch.tensor(spacing, dtype=torch.float64)).tolist()
    return Grid(shape, tuple(map(tuple, matrix)), tuple((100 * rand(seed + 1, dimension)).tolist()))


def some_points(grid: Grid, seed: int, count: int = 20) -> Tensor:
    """World points in and around the field of view."""
    index = (0.75 * rand(seed, count, grid.dimension) + 0.5) * torch.tensor(grid.shape)
    return grid.to_world(index)


def affine(dimension: int, seed: int) -> Affine:
    """Far from flattening space: no point moves by more than half of its distance from the centre, and a shift."""
    matrix = torch.eye(dimension, dtype=torch.float64) + 0.5 / dimension * rand(seed, dimension, dimension)
    return Affine(matrix, 30 * rand(seed + 1, dimension), 100 * rand(seed + 2, dimension))


def rough_field(grid: Grid, seed: int, size: float) -> Tensor:
    """(D, *S) in mm: random at each voxel, at most `size` of the finest spacing."""
    return size * min(grid.spacing) * rand(seed, grid.dimension, *grid.shape)


@given(grids(), SEEDS)
def test_index_and_world_undo_each_other(grid: Grid, seed: int) -> None:
    points = some_points(grid, seed)
    torch.testing.assert_close(grid.to_world(grid.to_index(points)), points)
    torch.testing.assert_close(grid.to_index(grid.points(LIKE)), grid.index(LIKE), atol=1e-9, rtol=0)
    again = Grid.of(grid.geometry(), grid.shape)
    torch.testing.assert_close(again.points(LIKE), grid.points(LIKE))


@given(grids(), st.integers(1, 12))
def test_a_resized_grid_has_the_same_field_of_view(grid: Grid, length: int) -> None:
    other = grid.resized((length,) * grid.dimension)
    for corner in (0, 1):
        outer = [each.to_world(corner * torch.tensor(each.shape, dtype=torch.float64) - 0.5) for each in (grid, other)]
        torch.testing.assert_close(*outer)
    torch.testing.assert_close(other.resized(grid.shape).points(LIKE), grid.points(LIKE))


@given(grids(), SEEDS, st.sampled_from(("linear", "nearest", "cubic")))
def test_an_image_has_its_own_values_at_its_voxels(grid: Grid, seed: int, mode: str) -> None:
    image = rand(seed, 2, *grid.shape)
    torch.testing.assert_close(sample(image, grid, grid.points(LIKE), mode=mode), image, atol=1e-9, rtol=0)


@given(DIMENSIONS, SEEDS)
def test_affine_maps_are_undone_by_their_inverse_and_joined_in_order(dimension: int, seed: int) -> None:
    first, second, points = affine(dimension, seed), affine(dimension, seed + 10), 100 * rand(seed + 20, 15, dimension)
    torch.testing.assert_close(first.inverse()(first(points)), points, atol=1e-7, rtol=0)
    torch.testing.assert_close(first(first.inverse()(points)), points, atol=1e-7, rtol=0)
    torch.testing.assert_close(first.then(second)(points), second(first(points)))
    undone = first.then(first.inverse())
    torch.testing.assert_close(undone.matrix, torch.eye(dimension, dtype=torch.float64))


@given(grids(), SEEDS, KINDS)
def test_negative_coefficients_give_the_inverse(grid: Grid, seed: int, kind: str) -> None:
    coefficients = grid.diagonal / 4 * rand(seed, len(basis(kind, grid.dimension)))
    there, back = transform_of(coefficients, kind, grid), transform_of(-coefficients, kind, grid)
    points = some_points(grid, seed)
    torch.testing.assert_close(back(there(points)), points)
    if kind in ("translation", "rigid"):
        torch.testing.assert_close(torch.cdist(there(points), there(points)), torch.cdist(points, points))


@given(DIMENSIONS, SEEDS, KINDS, st.integers(6, 12))
def test_landmarks_tell_the_map_that_moved_them(dimension: int, seed: int, kind: str, count: int) -> None:
    grid = Grid((20,) * dimension, tuple(map(tuple, np.eye(dimension).tolist())), (0.0,) * dimension)
    truth = transform_of(8 * rand(seed, len(basis(kind, dimension))), kind, grid)
    points = 20 * rand(seed + 1, count, dimension)
    found = fit_affine(points, truth(points), kind)
    others = 20 * rand(seed + 2, 5, dimension)
    torch.testing.assert_close(found(others), truth(others), atol=1e-6, rtol=0)


def every_part(grid: Grid, seed: int) -> list[SpatialTransform]:
    spacing = tuple(2.5 * step for step in grid.spacing)
    return [
        affine(grid.dimension, seed),
        Displacement(grid, rough_field(grid, seed, 0.4)),
        Velocity(grid, rough_field(grid, seed + 1, 0.4)),
        BSpline(grid, min(grid.spacing) * rand(seed, grid.dimension, *lattice(grid, spacing)), spacing),
        affine(grid.dimension, seed + 3),
    ]


@given(grids(most=6), SEEDS, st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(0, 4))
def test_composites_apply_their_parts_in_order(grid: Grid, seed: int, order: list[int], cut: int) -> None:
    parts = [every_part(grid, seed)[place] for place in order]
    points = some_points(grid, seed)
    expected = points
    for part in parts:
        expected = part(expected)
    nested = [*parts[:cut], Composite(tuple(parts[cut:]))] if cut < len(parts) else parts
    torch.testing.assert_close(compose(*nested)(points), expected)
    field = as_displacement(compose(*nested), grid, like=LIKE).field
    home = grid.points(LIKE)
    torch.testing.assert_close(home + field.movedim(0, -1), compose(*parts)(home), atol=1e-7, rtol=0)


@given(grids(), SEEDS, st.integers(1, 4))
def test_affine_composites_are_undone_from_the_end(grid: Grid, seed: int, count: int) -> None:
    composite = Composite(tuple(affine(grid.dimension, seed + 5 * number) for number in range(count)))
    points = some_points(grid, seed)
    torch.testing.assert_close(composite.inverse()(composite(points)), points, atol=1e-6, rtol=0)


@given(grids(), SEEDS, SEEDS)
def test_composed_fields_are_those_of_the_maps_in_turn(grid: Grid, seed: int, other: int) -> None:
    first, second = rough_field(grid, seed, 1.5), rough_field(grid, other, 1.5)
    home = grid.points(LIKE)
    expected = Displacement(grid, second)(Displacement(grid, first)(home))
    torch.testing.assert_close(home + compose_fields(first, second, grid).movedim(0, -1), expected, atol=1e-8, rtol=0)


@given(grids(), SEEDS)
def test_fields_that_do_not_fold_are_inverted_at_every_voxel(grid: Grid, seed: int) -> None:
    # neighbours differ by a fifth of a voxel along each axis at most, so that the fixed point is a contraction
    field = rough_field(grid, seed, 0.1)
    found = invert_field(field, grid)
    tolerance = 1e-3 * min(grid.spacing)
    assert found.residual.max() <= tolerance
    home = grid.points(LIKE)
    back = home + found.field.movedim(0, -1)
    assert (Displacement(grid, field)(back) - home).norm(dim=-1).max() <= tolerance * (1 + 1e-6)


@given(grids(least=13, most=15), SEEDS, st.integers(3, 7))
def test_linear_velocities_are_undone_by_their_reverse(grid: Grid, seed: int, steps: int) -> None:
    """Linear fields are interpolated without error, so that only the steps in time are left.

    With E = M / 2^steps the maps are (1 + E)^(2^steps) and (1 - E)^(2^steps) about the centre, exactly; one after
    the other they are (1 - E^2)^(2^steps), which differs from 1 by |M|^2 / 2^steps at most, but for terms in |M|^4.
    """
    rate = 0.25 / grid.dimension * rand(seed, grid.dimension, grid.dimension)
    centre = torch.tensor(grid.centre, dtype=torch.float64)
    velocity = Velocity(grid, ((grid.points(LIKE) - centre) @ rate.T).movedim(-1, 0), steps)
    # so near the centre that no path leaves the grid, and that the border, which each squaring takes a voxel further
    # inwards by a small share, does not show
    reach = (torch.tensor(grid.shape) - 1) / 2 * torch.tensor(grid.spacing)
    points = centre + 0.2 * reach.min() * rand(seed + 1, 20, grid.dimension) / grid.dimension**0.5
    error = (velocity.inverse()(velocity(points)) - points).norm(dim=-1)
    size = float(torch.linalg.matrix_norm(rate, 2))
    allowed = size**2 / 2**steps * (points - centre).norm(dim=-1)
    assert (velocity(points) - points).norm(dim=-1).max() > 10 * allowed.max() or size < 1e-3
    assert (error <= 1.001 * allowed + 1e-9).all()


@given(grids(), SEEDS, st.floats(0.02, 0.3))
def test_small_velocities_are_undone_to_first_order(grid: Grid, seed: int, size: float) -> None:
    """Displacements on the way are interpolated anew: an error of second order, velocity times slope."""
    field = rough_field(grid, seed, size)
    velocity = Velocity(grid, field)
    home = grid.points(LIKE)
    error = (velocity.inverse()(velocity(home)) - home).norm(dim=-1).max()
    fastest = field.norm(dim=0).max()
    slopes = [field.diff(dim=axis + 1).norm(dim=0).max() for axis in range(grid.dimension)]
    slope = torch.stack(slopes).norm() / min(grid.spacing)
    assert error <= fastest * slope
    assert (velocity(home) - home).norm(dim=-1).max() >= fastest / 2


@given(grids(), SEEDS)
def test_the_identity_warps_nothing(grid: Grid, seed: int) -> None:
    shape = (1,) * (3 - grid.dimension) + grid.shape
    geometry = grid.geometry()
    values = rand(seed, 2, *shape).numpy().astype(np.float32)
    labels = np.random.default_rng(seed).integers(0, 5, (1, *shape)).astype(np.int16)
    for same in (Affine.identity(grid.dimension), Displacement.zeros(grid)):
        warped = warp_image(Image(values, geometry), same, geometry, shape)
        np.testing.assert_allclose(warped.array, values, atol=1e-5)
        for how in ("nearest", "linear"):
            moved = warp_labels(Image(labels, geometry), same, geometry, shape, interpolation=how)
            np.testing.assert_array_equal(moved.array, labels)


@settings(max_examples=15)
@given(grids(most=6), SEEDS, st.lists(st.integers(0, 4), min_size=1, max_size=3))
def test_files_keep_transforms(tmp_path: Path, grid: Grid, seed: int, order: list[int]) -> None:
    parts = [every_part(grid, seed)[place] for place in order]
    write_transform(tmp_path / "transform.h5", compose(*parts))
    # what ITK does not know is kept as the displacements of its grid's voxels
    whole = compose(*(part.displacement if isinstance(part, BSpline) else part for part in parts))
    points = grid.points(LIKE)
    # fields are read as float32: of a few mm, to 1e-6 of them
    torch.testing.assert_close(read_transform(tmp_path / "transform.h5")(points), whole(points), atol=1e-4, rtol=0)
    field = as_displacement(whole, grid)
    write_displacement(tmp_path / "field.nii.gz", field)
    read = read_displacement(tmp_path / "field.nii.gz")
    # NIfTI keeps the place of the grid in single precision, in ours a hundred mm away from the origin
    torch.testing.assert_close(read.grid.points(LIKE), points, atol=1e-3, rtol=0)
    torch.testing.assert_close(read.field, field.field.float())
