"""Transform files of other tools, written by SimpleITK itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data import itk
from autoseg.data.image import Geometry
from autoseg.errors import ImageError

POINTS = np.random.default_rng(0).uniform(-20, 20, (5, 3))


def euler() -> sitk.Transform:
    return sitk.Euler3DTransform((1.0, 2.0, 3.0), 0.1, -0.2, 0.3, (4.0, 5.0, -6.0))


LINEAR = {
    "Euler": euler(),
    "versor": sitk.VersorRigid3DTransform((0.0, 0.6, 0.8), 0.4, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    "similarity": sitk.Similarity3DTransform(1.3, (0.0, 0.6, 0.8), 0.4, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    "scale": sitk.ScaleTransform(3, (1.1, 0.9, 1.2)),
    "translation": sitk.TranslationTransform(3, (1.0, -2.0, 3.0)),
    "affine": sitk.AffineTransform((1.1, 0.2, 0.0, -0.1, 0.9, 0.3, 0.0, 0.1, 1.0), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    "identity": sitk.Transform(3, sitk.sitkIdentity),
}


def applied(parts: tuple[itk.LinearPart | itk.FieldPart, ...], points: np.ndarray) -> np.ndarray:
    """The parts by their formula, one after another, on points in ITK's order."""
    points = points[:, ::-1]
    for part in parts:
        assert isinstance(part, itk.LinearPart)
        points = (points - part.centre) @ part.matrix.T + part.centre + part.translation
    return points[:, ::-1]


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("ending", [".tfm", ".txt", ".h5", ".hdf5"])
def test_linear_transforms_of_all_kinds_are_read(tmp_path: Path, name: str, ending: str) -> None:
    transform, path = LINEAR[name], tmp_path / f"x{ending}"
    sitk.WriteTransform(transform, str(path))
    (part,) = itk.read_transform(path)
    expected = [transform.TransformPoint(point) for point in POINTS.tolist()]
    np.testing.assert_allclose(applied((part,), POINTS), expected, atol=1e-9)


def test_parts_come_and_go_in_the_order_of_application(tmp_path: Path) -> None:
    whole = sitk.CompositeTransform([LINEAR["translation"], LINEAR["scale"], LINEAR["affine"], euler()])
    sitk.WriteTransform(whole, str(tmp_path / "x.tfm"))
    parts = itk.read_transform(tmp_path / "x.tfm")
    assert len(parts) == 4
    expected = [whole.TransformPoint(point) for point in POINTS.tolist()]
    np.testing.assert_allclose(applied(parts, POINTS), expected, atol=1e-9)
    itk.write_transform(tmp_path / "back.h5", parts)
    back = sitk.ReadTransform(str(tmp_path / "back.h5"))
    np.testing.assert_allclose([back.TransformPoint(point) for point in POINTS.tolist()], expected, atol=1e-9)


def test_a_field_comes_with_its_place(tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(4, 5, 6, 3))
    image = sitk.GetImageFromArray(vectors, isVector=True)
    image.SetSpacing((0.5, 1.0, 2.0))
    image.SetOrigin((7.0, 8.0, 9.0))
    sitk.WriteTransform(sitk.DisplacementFieldTransform(sitk.Image(image)), str(tmp_path / "x.h5"))
    sitk.WriteImage(image, str(tmp_path / "x.nrrd"))
    (part,) = itk.read_transform(tmp_path / "x.h5")
    assert isinstance(part, itk.FieldPart)
    for found in (part, itk.read_displacement(tmp_path / "x.nrrd")):
        assert found.geometry == Geometry((2.0, 1.0, 0.5), (9.0, 8.0, 7.0))
        np.testing.assert_array_equal(found.field, np.moveaxis(vectors, -1, 0)[::-1])


def test_what_is_neither_linear_nor_a_field_is_refused(tmp_path: Path) -> None:
    sitk.WriteTransform(sitk.BSplineTransform(2, 3), str(tmp_path / "x.tfm"))
    with pytest.raises(ImageError, match="unknown kind") as raised:
        itk.read_transform(tmp_path / "x.tfm")
    assert raised.value.got == "BSplineTransform"


@pytest.mark.parametrize("name", ["missing.tfm", "damaged.tfm", "damaged.h5"])
def test_files_that_hold_no_transform_are_refused(tmp_path: Path, name: str) -> None:
    if name.startswith("damaged"):
        (tmp_path / name).write_bytes(b"nothing of a transform")
    with pytest.raises(ImageError, match="cannot be read"):
        itk.read_transform(tmp_path / name)


def test_images_that_are_no_fields_are_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6))), str(tmp_path / "x.nii.gz"))
    with pytest.raises(ImageError, match="no displacement field"):
        itk.read_displacement(tmp_path / "x.nii.gz")
    with pytest.raises(ImageError, match="cannot be read"):
        itk.read_displacement(tmp_path / "y.nii.gz")
    with pytest.raises(ImageError, match="unknown ending"):
        itk.read_transform(tmp_path / "x.nii.gz")


def test_formats_without_vectors_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    part = itk.FieldPart(np.zeros((3, 4, 5, 6)), Geometry())
    with pytest.raises(ImageError, match="cannot be written"):
        itk.write_displacement(tmp_path / "x.nothing", part)
    assert not list(tmp_path.iterdir())
