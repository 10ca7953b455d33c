"""The deformable stage: composed updates, what they start from, what they compare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autoseg import plugins
from autoseg.data.image import Geometry, Image
from autoseg.errors import ConfigurationError
from autoseg.tasks.registration import deformable
from autoseg.tasks.registration.deformable import fit_composed
from autoseg.tasks.registration.forces import LOCAL_NCC, edges, emphasised, force_of, sharpened
from autoseg.tasks.registration.levels import levels_of
from autoseg.tasks.registration.methods import RegistrationOptions, register
from autoseg.tasks.registration.optimize import TransformFit
from autoseg.tasks.registration.pair import ImagePair, prepare
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Affine, Displacement, as_displacement, jacobian_determinant

SHAPES = {2: (40, 44), 3: (20, 24, 22)}


def blobs(dimension: int, shift: float, *, seed: int = 0) -> Image:
    """Smooth texture, moved along the last axis by mm."""
    random, shape = np.random.default_rng(seed), SHAPES[dimension]
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).astype(float)
    array = np.zeros(shape)
    for _ in range(12 * dimension):
        centre, width = random.uniform(0, shape), random.uniform(2.0, 4.0)
        centre[-1] += shift
        array += random.uniform(-1, 1) * np.exp(-(((places - centre) / width) ** 2).sum(-1) / 2)
    geometry = Geometry.plane() if dimension == 2 else Geometry()
    return Image(array.astype(np.float32).reshape((1, 1, *shape) if dimension == 2 else (1, *shape)), geometry)


def still(pair: ImagePair) -> Affine:
    return Affine.identity(pair.dimension, pair.fixed_grid.centre)


def fit(pair: ImagePair, name: str = LOCAL_NCC, **options: object) -> TransformFit[Displacement]:
    return fit_composed(pair, still(pair), name, plugins.resolve("similarity", name)(), **options)  # type: ignore[arg-type]


def inner(field: torch.Tensor) -> torch.Tensor:
    return field[(slice(None), *[slice(5, -5)] * (field.ndim - 1))]


@pytest.mark.parametrize("name", ["local-ncc", "mutual-information", "ncc"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_a_shift_is_found_without_folds(dimension: int, name: str) -> None:
    pair = prepare(blobs(dimension, 0.0), blobs(dimension, 2.0))
    found = fit(pair, name).transform
    along = inner(found.field)
    assert float(along[-1].mean()) == pytest.approx(2.0, abs=0.35)
    assert float(along[:-1].abs().mean()) < 0.3
    assert float(jacobian_determinant(found.field, found.grid).min()) > 0


@pytest.mark.parametrize("dimension", [2, 3])
def test_equal_images_are_left_alone(dimension: int) -> None:
    image = blobs(dimension, 0.0)
    noisy = image.with_array(image.array + np.random.default_rng(0).normal(0, 0.05, image.array.shape).astype("f4"))
    pair = prepare(noisy, noisy)
    assert float(as_displacement(register(pair).transform, pair.fixed_grid).field.abs().max()) < 0.05


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_fit_goes_on_from_a_deformation_on_another_grid(dimension: int) -> None:
    """From the answer, given on a grid of half the resolution, a few updates at the finest level stay there."""
    pair = prepare(blobs(dimension, 0.0), blobs(dimension, 5.0))
    coarse = pair.fixed_grid.resized([length // 2 for length in pair.fixed_grid.shape])
    answer = torch.zeros((dimension, *coarse.shape))
    answer[-1] = 5.0
    few = {"levels": 1, "iterations": 4}
    near = fit(pair, initial=Displacement(coarse, answer), **few)
    far = fit(pair, **few)
    assert near.history[0] < far.history[-1]
    assert float(inner(near.transform.field)[-1].mean()) == pytest.approx(5.0, abs=0.3)
    assert near.iterations == 4


def test_large_images_are_fitted_at_a_coarser_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """The map is found all the same, in mm of the whole grid."""
    pair = prepare(blobs(3, 0.0), blobs(3, 2.0))
    monkeypatch.setattr(deformable, "MANY", 4000)
    assert fit(pair).transform.grid.shape == (10, 12, 11)
    field = as_displacement(
        register(pair, RegistrationOptions(stages=("deformable",))).transform, pair.fixed_grid
    ).field
    assert float(inner(field)[-1].mean()) == pytest.approx(2.0, abs=0.5)


def test_a_pair_is_registered_in_mm_whatever_the_spacing() -> None:
    """Voxels of 2 x 0.5 x 1 mm: the shift is of the world, and so is what is found."""
    fixed, moving = (
        replace(blobs(3, shift), geometry=Geometry(spacing=(2.0, 0.5, 1.0), origin=(7.0, -3.0, 2.0)))
        for shift in (0.0, 2.0)
    )
    found = register(prepare(fixed, moving), RegistrationOptions(stages=("deformable",))).transform
    field = as_displacement(found, Grid.of(fixed)).field
    assert float(inner(field)[-1].mean()) == pytest.approx(2.0, abs=0.35)


def test_what_a_mask_leaves_out_does_not_push() -> None:
    """The right half moved, the mask covers the left half only."""
    fixed, moved = blobs(2, 0.0).array.copy(), blobs(2, 3.0).array
    moving = fixed.copy()
    moving[..., 22:] = moved[..., 22:]
    mask = np.zeros(fixed.shape, dtype=np.uint8)
    mask[..., :16] = 1
    images = [Image(array, Geometry.plane()) for array in (fixed, moving, mask)]
    free, masked = prepare(*images[:2]), prepare(*images[:2], fixed_mask=images[2])
    pushed, kept = (float(fit(pair).transform.field[:, :, 26:36].norm(dim=0).mean()) for pair in (free, masked))
    assert kept < 0.3 * pushed


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_force_of_local_correlation_is_its_derivative(dimension: int) -> None:
    """Against autograd through the loss that the force itself returns, along random directions."""
    pair = emphasised(prepare(blobs(dimension, 0.0), blobs(dimension, 1.0)).to("cpu"))
    pair = replace(pair, fixed=pair.fixed.double(), moving=pair.moving.double())
    (level,) = levels_of(pair, 1, least=6)
    force = force_of(LOCAL_NCC, plugins.resolve("similarity", LOCAL_NCC)(), level)
    seen = torch.ones(level.fixed.shape[1:], dtype=torch.bool)
    direction = torch.randn(level.moving.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, change = force(level.moving, seen)
    step = 1e-5
    ahead, behind = (force(level.moving + sign * step * direction, seen)[0] for sign in (1, -1))
    assert float((change * direction).sum()) == pytest.approx(float((ahead - behind) / (2 * step)), rel=1e-4)


def test_edges_are_the_slope_of_a_ramp_in_steps_of_the_finest_axis() -> None:
    z, y = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    found = edges((3.0 * z + 4.0 * y)[None], (3.0, 1.0))  # one mm along z, four along y, by mm
    torch.testing.assert_close(found, torch.full((1, 8, 9), (1.0 + 16.0) ** 0.5))


def test_edges_within_a_mask_do_not_see_what_lies_outside() -> None:
    maps = torch.randn(2, 7, 9, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(7, 9, dtype=torch.bool)
    mask[1:6, 2:8] = True
    inside = (slice(None), slice(1, 6), slice(2, 8))
    torch.testing.assert_close(edges(maps, (1.0, 1.0), mask)[inside], edges(maps[inside], (1.0, 1.0)))


def test_sharpening_keeps_what_is_flat() -> None:
    torch.testing.assert_close(sharpened(torch.full((1, 9, 9), 0.3)), torch.full((1, 9, 9), 0.3))


@pytest.mark.parametrize("parameterisation", ["velocity", "b-spline"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_other_parameterisations_find_a_shift_too(dimension: int, parameterisation: str) -> None:
    pair = prepare(blobs(dimension, 0.0), blobs(dimension, 2.0))
    options = RegistrationOptions(stages=("deformable",), parameterisation=parameterisation, similarity="ncc")  # type: ignore[arg-type]
    field = as_displacement(register(pair, options).transform, pair.fixed_grid).field
    assert float(inner(field)[-1].mean()) == pytest.approx(2.0, abs=0.4)


def test_a_strong_regulariser_keeps_a_velocity_small() -> None:
    pair = prepare(blobs(2, 0.0), blobs(2, 2.0))
    fields = []
    for weight in (0.1, 100.0):
        options = RegistrationOptions(
            stages=("deformable",), parameterisation="velocity", similarity="ncc", regularizers={"diffusion": weight}
        )
        field = as_displacement(register(pair, options).transform, pair.fixed_grid).field
        fields.append(float(field.diff(dim=-1).square().mean()))
    assert fields[1] < 0.2 * fields[0]


def test_an_unknown_similarity_is_named() -> None:
    pair = prepare(blobs(2, 0.0), blobs(2, 2.0))
    with pytest.raises(ConfigurationError, match="local-nc"):
        register(pair, RegistrationOptions(similarity="local-nc"))
