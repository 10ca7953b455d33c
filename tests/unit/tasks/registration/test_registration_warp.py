"""Warped images and labels, against SimpleITK on oblique grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from autoseg.data import itk
from autoseg.data.image import Geometry, Image
from autoseg.tasks.registration import warp
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Affine, Composite, Displacement, as_displacement
from autoseg.tasks.registration.warp import slabs, warp_image, warp_labels, warp_points

COS, SIN = math.cos(0.3), math.sin(0.3)
MOVING = Geometry(
    spacing=(2.0, 0.8, 1.1),
    origin=(10.0, -7.0, 3.0),
    direction=((COS, 0.0, -SIN), (0.0, -1.0, 0.0), (SIN, 0.0, COS)),
)
FIXED = Geometry(spacing=(1.5, 1.0, 0.9), origin=(14.0, -20.0, 2.0))
SHAPE = (9, 11, 12)


def affine() -> Affine:
    matrix = torch.eye(3, dtype=torch.float64) + 0.05 * torch.arange(9, dtype=torch.float64).reshape(3, 3) / 4
    return Affine(matrix, torch.tensor([1.0, 2.0, -1.5]).double(), torch.tensor([18.0, -14.0, 8.0]).double())


def moving_image() -> Image:
    array = np.random.default_rng(0).normal(100, 30, (1, 12, 16, 14)).astype(np.float32)
    return Image(array, MOVING)


def alignment(transform: Affine) -> itk.Alignment:
    """The same transform as SimpleITK's."""
    library = itk.library()
    found = library.AffineTransform(3)
    found.SetMatrix(transform.matrix.numpy()[::-1, ::-1].ravel().tolist())
    found.SetTranslation(transform.translation.numpy()[::-1].tolist())
    found.SetCenter(transform.centre.numpy()[::-1].tolist())
    return itk.Alignment(found)


@pytest.mark.parametrize("slab", [2**21, 300])
def test_an_image_is_warped_as_simpleitk_does(slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warp, "_SLAB_VOXELS", slab)
    image = moving_image()
    expected = itk.resample(image, FIXED, SHAPE, alignment(affine()), nearest=False, outside=-5.0)
    found = warp_image(image, affine(), FIXED, SHAPE, outside=-5.0)
    assert found.array.shape == (1, *SHAPE)
    assert found.geometry == FIXED
    outside = expected == -5
    assert 0.05 < outside.mean() < 0.95, "some of it lies outside"
    assert found.array[0] == pytest.approx(expected, abs=2e-3)


def test_labels_are_warped_as_simpleitk_does() -> None:
    labels = Image((moving_image().array > 110).astype(np.uint8) * 7, MOVING)
    expected = itk.resample(labels, FIXED, SHAPE, alignment(affine()), nearest=True, outside=0)
    found = warp_labels(labels, affine(), FIXED, SHAPE)
    assert found.array.dtype == np.uint8
    assert np.array_equal(found.array[0], expected)


def test_values_that_the_labels_type_cannot_hold_are_kept() -> None:
    labels = Image(np.ones((1, 12, 16, 14), np.uint8), MOVING)
    found = warp_labels(labels, affine(), FIXED, SHAPE, outside=300).array
    assert set(np.unique(found)) == {1, 300}


def test_linear_labels_are_those_of_the_largest_interpolated_mask() -> None:
    generator = np.random.default_rng(1)
    labels = Image(generator.integers(0, 3, (1, 12, 16, 14)).astype(np.int16), MOVING)
    found = warp_labels(labels, affine(), FIXED, SHAPE, interpolation="linear", outside=9).array[0]
    masks = [
        itk.resample(
            Image((labels.array == value).astype(np.float32), MOVING),
            FIXED,
            SHAPE,
            alignment(affine()),
            nearest=False,
            outside=-1.0,
        )
        for value in range(3)
    ]
    expected = np.where(masks[0] == -1, 9, np.argmax(masks, axis=0))
    assert (found == expected).mean() > 0.999  # but for masks that are equally large up to rounding


def test_a_field_on_the_fixed_grid_gives_what_its_transform_gives() -> None:
    grid = Grid.of(FIXED, SHAPE)
    bump = torch.zeros(3, *SHAPE)
    bump[1] = torch.sin(torch.arange(SHAPE[1]) / 2.0)[None, :, None]
    whole = Composite((Displacement(grid, bump), affine()))
    image = moving_image()
    first = warp_image(image, whole, FIXED, SHAPE, outside="border").array
    second = warp_image(image, as_displacement(whole, grid), FIXED, SHAPE, outside="border").array
    assert first == pytest.approx(second, abs=2e-2)


def test_a_plane_with_three_channels() -> None:
    array = np.random.default_rng(0).integers(0, 255, (3, 1, 8, 9)).astype(np.uint8)
    image = Image(array, Geometry.plane((0.5, 0.5)))
    shift = torch.tensor([0.5, 1.0], dtype=torch.float64)
    moved = Affine(torch.eye(2, dtype=torch.float64), shift, torch.zeros(2, dtype=torch.float64))
    found = warp_image(image, moved, image.geometry, image.shape).array
    assert found.shape == (3, 1, 8, 9)
    assert np.allclose(found[:, 0, :-1, :-2], array[:, 0, 1:, 2:])
    assert (found[:, 0, -1] == 0).all()


def test_points_go_with_the_transform() -> None:
    points = np.array([[18.0, -14.0, 8.0], [0.0, 0.0, 0.0]])
    expected = [alignment(affine()).transform.TransformPoint(point[::-1].tolist())[::-1] for point in points]
    assert warp_points(points, affine()) == pytest.approx(np.array(expected))
    assert warp_points(np.empty((0, 3)), affine()).shape == (0, 3)


def test_slabs_cover_the_grid_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warp, "_SLAB_VOXELS", 300)
    grid = Grid.of(FIXED, SHAPE)
    found = list(slabs(grid))
    assert len(found) > 2
    joined = torch.cat([points for _, points in found])
    assert torch.allclose(joined, grid.points(torch.zeros((), dtype=torch.float64)))
