"""Transforms and displacement fields in the files that ITK's tools (SimpleITK, ANTs, 3D Slicer) read and write.

A file says where points of the fixed image's world lie in the moving image's, as the project's transforms do. ITK's
world is that of DICOM (LPS), with components in the order (x, y, z); here they are in the project's order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.image import Geometry, Image
from autoseg.data.itk.conversion import from_itk, library, reason_of, to_itk
from autoseg.errors import ImageError
from autoseg.log import counted

if TYPE_CHECKING:
    import SimpleITK as sitk

TRANSFORM_ENDINGS = (".tfm", ".txt", ".h5", ".hdf5")


@dataclass(frozen=True)
class LinearPart:
    """The map p -> matrix (p - centre) + centre + translation, all float64 in the order (z, y, x) or (y, x).

    Attributes:
        matrix: (D, D).
        translation, centre: (D,) in mm.
    """

    matrix: np.ndarray
    translation: np.ndarray
    centre: np.ndarray


@dataclass(frozen=True)
class FieldPart:
    """The map p -> p + u(p).

    Attributes:
        field: u, (D, *S) in mm, components in the order of the axes; S is (Z, Y, X), or (Y, X) in a plane.
        geometry: of the grid on which u stands.
    """

    field: np.ndarray
    geometry: Geometry


def write_transform(path: Path, parts: Sequence[LinearPart | FieldPart]) -> None:
    """Writes maps that are applied one after another, whole or not at all.

    ITK's `CompositeTransform` applies the transform that was added last first, so the file holds `parts` in reverse.
    One part alone is written as itself. Outside of a field's grid ITK moves points not at all.

    Args:
        path: ends in `.tfm` or `.txt` (text, large for fields) or `.h5` or `.hdf5`; folders are made.
        parts: in the order of application, at least one, all of one dimension.

    Raises:
        ImageError: another ending, or the file cannot be written.
    """
    _check_ending(path)
    itk = library()
    transforms = [_linear(part) if isinstance(part, LinearPart) else _displacements(part) for part in parts]
    whole = transforms[0] if len(transforms) == 1 else itk.CompositeTransform(transforms[::-1])
    _write_whole(path, lambda temporary: itk.WriteTransform(whole, str(temporary)))


def read_transform(path: Path) -> tuple[LinearPart | FieldPart, ...]:
    """The maps of a file in the order in which they are applied.

    Raises:
        ImageError: not a transform file, or it holds a transform that is neither linear nor a displacement field.
    """
    _check_ending(path)
    try:
        transform = library().ReadTransform(str(path))
    except RuntimeError as error:
        raise ImageError(
            "the transform cannot be read (missing, damaged or not a transform)",
            where=path,
            got=reason_of(error),
            remedy="check the path, or write the file again",
        ) from None
    return tuple(_parts(transform, path))


def write_displacement(path: Path, part: FieldPart) -> None:
    """Writes a displacement field as an image of vectors, float32 mm, whole or not at all.

    In NIfTI the vectors lie along the fifth axis with the intent "vector" and stay in LPS, as ITK and ANTs have them.

    Raises:
        ImageError: the format holds no vectors, or the file cannot be written.
    """
    image = to_itk(_as_image(part, np.float32), fourth_axis=False)
    _write_whole(path, lambda temporary: library().WriteImage(image, str(temporary), useCompression=True))


def read_displacement(path: Path) -> FieldPart:
    """A displacement field from an image of vectors in mm, as `write_displacement` and ITK's tools write it.

    Raises:
        ImageError: unreadable, or not as many components as axes.
    """
    try:
        return _as_part(library().ReadImage(str(path)), path)
    except RuntimeError as error:
        raise ImageError("the displacement field cannot be read", where=path, got=reason_of(error)) from None


def _parts(transform: sitk.Transform, path: Path) -> Iterator[LinearPart | FieldPart]:
    itk = library()
    transform = transform.Downcast()
    if isinstance(transform, itk.CompositeTransform):
        for index in reversed(range(transform.GetNumberOfTransforms())):
            yield from _parts(transform.GetNthTransform(index), path)
    elif isinstance(transform, itk.DisplacementFieldTransform):
        yield _as_part(transform.GetDisplacementField(), path)
    elif transform.IsLinear():
        yield _measured(transform)
    else:
        raise ImageError(
            "the file holds a transform of an unknown kind",
            where=path,
            got=transform.GetName(),
            expected="linear transforms, displacement fields, and composites of them",
            remedy="write it as a displacement field (SimpleITK.TransformToDisplacementField)",
        )


def _measured(transform: sitk.Transform) -> LinearPart:
    """Any of ITK's linear transforms, by what it does to the corners of a simplex: their parameters differ."""
    dimension = transform.GetDimension()
    centre = np.asarray(transform.GetCenter() if hasattr(transform, "GetCenter") else np.zeros(dimension))
    start = np.asarray(transform.TransformPoint(centre.tolist()))
    steps = [np.asarray(transform.TransformPoint((centre + unit).tolist())) - start for unit in np.eye(dimension)]
    return LinearPart(np.stack(steps, axis=1)[::-1, ::-1].copy(), (start - centre)[::-1].copy(), centre[::-1].copy())


def _linear(part: LinearPart) -> sitk.Transform:
    transform = library().AffineTransform(len(part.translation))
    transform.SetMatrix(np.asarray(part.matrix, dtype=float)[::-1, ::-1].ravel().tolist())
    transform.SetTranslation(np.asarray(part.translation, dtype=float)[::-1].tolist())
    transform.SetCenter(np.asarray(part.centre, dtype=float)[::-1].tolist())
    return transform


def _displacements(part: FieldPart) -> sitk.Transform:
    return library().DisplacementFieldTransform(to_itk(_as_image(part, np.float64), fourth_axis=False))


def _as_image(part: FieldPart, dtype: type) -> Image:
    """The field with its components as channels in ITK's order."""
    field = part.field[::-1] if part.field.ndim == 4 else part.field[::-1, None]
    return Image(field.astype(dtype), part.geometry)


def _as_part(itk_image: sitk.Image, path: Path) -> FieldPart:
    image = from_itk(itk_image, path)
    dimension = image.geometry.dimension
    if len(image.array) != dimension:
        raise ImageError(
            "the image is no displacement field",
            where=path,
            got=f"{counted(len(image.array), 'component')} at each voxel",
            expected=f"{dimension} components in mm, one per axis",
        )
    field = image.array[::-1]
    return FieldPart(np.ascontiguousarray(field if dimension == 3 else field[:, 0]), image.geometry)


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in TRANSFORM_ENDINGS:
        raise ImageError("unknown ending of a transform file", where=path, expected=", ".join(TRANSFORM_ENDINGS))


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Writes beside the place under the same name, whose ending tells ITK the format, then renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        try:
            write(temporary)
        except RuntimeError as error:
            raise ImageError("the file cannot be written", where=path, got=reason_of(error)) from None
        temporary.replace(path)
