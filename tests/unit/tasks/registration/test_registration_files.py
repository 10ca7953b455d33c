"""What SimpleITK makes of the written files is what the transforms themselves make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from autoseg.errors import ImageError, RegistrationError
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
    lattice,
    transform_of,
)

FIXED = {
    2: Grid((30, 26), ((0.6, -1.6), (0.8, 1.2)), (4.0, -3.0)),
    3: Grid((16, 18, 14), ((1.2, -0.6, 0.0), (1.6, 0.45, 0.0), (0.0, 0.0, -1.5)), (4.0, -3.0, 9.0)),
}
MOVING = {
    2: Grid((40, 44), ((1.2, 0.5), (-0.5, 1.2)), (-41.45, 7.55)),
    3: Grid((28, 30, 26), ((1.2, 0.5, 0.0), (-0.5, 1.2, 0.0), (0.0, 0.0, 1.5)), (-15.55, 2.175, -19.5)),
}
LIKE = torch.zeros((), dtype=torch.float64)


def smooth_field(grid: Grid, seed: int) -> torch.Tensor:
    """(D, *S) float32 mm, a few millimetres large."""
    rng = np.random.default_rng(seed)
    unit = grid.index(LIKE) / torch.tensor(grid.shape)
    frequencies = torch.from_numpy(rng.uniform(2, 6, (grid.dimension, grid.dimension)))
    return (1.5 * torch.sin(unit @ frequencies.T + seed)).movedim(-1, 0).float()


def transforms(dimension: int) -> dict[str, SpatialTransform]:
    grid = FIXED[dimension]
    size = {2: 6, 3: 12}[dimension]
    random = torch.Generator().manual_seed(0)
    affine = transform_of(torch.randn(size, dtype=torch.float64, generator=random), "affine", grid)
    rigid = transform_of(torch.tensor([1.0] * (3 if dimension == 2 else 6), dtype=torch.float64), "rigid", grid)
    field = Displacement(grid, smooth_field(grid, 1))
    spacing = (6.0,) * dimension
    free = BSpline(grid, torch.randn((dimension, *lattice(grid, spacing)), generator=random), spacing)
    return {
        "affine": affine,
        "field": field,
        "velocity": Velocity(grid, smooth_field(grid, 2)),
        "B-spline": free,
        "field, then affine maps": Composite((field, affine, rigid)),
        "affine map, then a field on the moving grid": Composite(
            (affine, Displacement(MOVING[dimension], smooth_field(MOVING[dimension], 3)))
        ),
        "homography": transform_of(torch.ones(8, dtype=torch.float64), "perspective", grid)
        if dimension == 2
        else rigid,
    }


def itk_image(array: np.ndarray, grid: Grid) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    matrix = np.array(grid.matrix)[::-1, ::-1]
    spacing = np.linalg.norm(matrix, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(grid.origin[::-1])
    image.SetDirection((matrix / spacing).ravel().tolist())
    return image


def moving_image(dimension: int) -> torch.Tensor:
    grid = MOVING[dimension]
    unit = grid.index(LIKE) / torch.tensor(grid.shape)
    return 50 * torch.sin(9 * unit).prod(-1)[None] + torch.rand(
        (1, *grid.shape), generator=torch.Generator().manual_seed(5)
    )


def assert_simpleitk_warps_alike(transform: SpatialTransform, itks: sitk.SpatialTransform, dimension: int) -> None:
    fixed, moving = FIXED[dimension], MOVING[dimension]
    image = moving_image(dimension)
    found = sample(image, moving, transform(fixed.points(LIKE)), outside=0.0)[0].numpy()
    target = itk_image(np.zeros(fixed.shape), fixed)
    reference = sitk.Resample(itk_image(image[0].numpy(), moving), target, itks, sitk.sitkLinear, 0.0)
    away = (slice(1, -1),) * dimension  # at its border a field is continued here and ends in ITK
    difference = np.abs(found - sitk.GetArrayFromImage(reference))[away]
    assert (found != 0).mean() > 0.8
    assert difference.max() < 1e-3 * float(image.max() - image.min())


CASES = [pytest.param(dimension, name, id=f"{name}-{dimension}d") for dimension in (2, 3) for name in transforms(2)]


@pytest.mark.parametrize(("dimension", "name"), CASES)
@pytest.mark.parametrize("ending", [".tfm", ".h5"])
def test_simpleitk_warps_by_the_file_as_the_transform_itself(
    tmp_path: Path, dimension: int, name: str, ending: str
) -> None:
    transform, path = transforms(dimension)[name], tmp_path / f"new/transform{ending}"
    write_transform(path, transform, FIXED[dimension])
    assert_simpleitk_warps_alike(transform, sitk.ReadTransform(str(path)), dimension)
    assert [file.name for file in path.parent.iterdir()] == [path.name]

    back = read_transform(path)
    points = FIXED[dimension].points(LIKE)
    torch.testing.assert_close(back(points), transform(points), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_simpleitk_warps_by_the_displacement_image(tmp_path: Path, dimension: int, ending: str) -> None:
    transform = transforms(dimension)["field, then affine maps"]
    path = tmp_path / f"new/displacement{ending}"
    whole = as_displacement(transform, FIXED[dimension])
    write_displacement(path, whole)

    image = sitk.ReadImage(str(path))
    assert (image.GetDimension(), image.GetNumberOfComponentsPerPixel()) == (dimension, dimension)
    itks = sitk.DisplacementFieldTransform(sitk.Cast(image, sitk.sitkVectorFloat64))
    assert_simpleitk_warps_alike(transform, itks, dimension)

    back = read_displacement(path)
    assert torch.equal(back.field, whole.field)
    np.testing.assert_allclose(back.grid.matrix, whole.grid.matrix, atol=1e-5)
    np.testing.assert_allclose(back.grid.origin, whole.grid.origin, atol=1e-5)


def test_a_nifti_field_has_its_vectors_along_the_fifth_axis(tmp_path: Path) -> None:
    write_displacement(tmp_path / "x.nii", Displacement.zeros(FIXED[3]))
    header = (tmp_path / "x.nii").read_bytes()[:348]
    shape = np.frombuffer(header, "<i2", 8, 40)
    intent = np.frombuffer(header, "<i2", 1, 68)[0]
    assert shape[:6].tolist() == [5, *FIXED[3].shape[::-1], 1, 3]
    assert intent == 1007  # NIFTI_INTENT_VECTOR: ITK and ANTs leave these in LPS


def test_affine_maps_are_joined_when_read(tmp_path: Path) -> None:
    transform = Composite((Affine.identity(3), Affine.identity(3)))
    write_transform(tmp_path / "x.tfm", transform)
    assert "AffineTransform_double_3_3" in (tmp_path / "x.tfm").read_text(encoding="utf-8")
    back = read_transform(tmp_path / "x.tfm")
    assert isinstance(back, Affine)
    assert back.matrix.dtype == torch.float64


def test_what_itk_does_not_know_needs_a_grid(tmp_path: Path) -> None:
    homography = transform_of(torch.ones(8), "perspective", FIXED[2])
    with pytest.raises(RegistrationError, match="no grid was given"):
        write_transform(tmp_path / "x.h5", Composite((Affine.identity(2), homography)))
    with pytest.raises(ImageError, match="unknown ending"):
        write_transform(tmp_path / "x.nii.gz", Affine.identity(2))
    assert not list(tmp_path.iterdir())
