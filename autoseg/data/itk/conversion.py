"""SimpleITK images <-> `Image`: axis order, geometry and errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.data.axes import rectified
from autoseg.data.image import PLANE_SPACING, Geometry, Image, Vector
from autoseg.errors import ImageError
from autoseg.log import counted

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True)
class Header:
    """What ITK reads of a header: size in ITK's order (x, y, z, t), components per voxel, and the geometry."""

    size: tuple[int, ...]
    components: int
    geometry: Geometry


@cache
def library() -> Any:
    """SimpleITK, imported when an image is first touched: a command that reads none does not wait for it."""
    import SimpleITK

    # ITK prints its warnings from C++ straight to standard error, past `logging`; what matters is raised or checked
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def from_itk(itk_image: sitk.Image, path: Path) -> Image:
    """An `Image` of SimpleITK's; a fourth axis and vector components become channels.

    Raises:
        ImageError: more axes than space and channels; `path` is named in it.
    """
    header = header_of(itk_image, itk_image.GetNumberOfComponentsPerPixel())
    return with_axes(library().GetArrayFromImage(itk_image), header, path)


def with_axes(array: np.ndarray, header: Header, path: Path) -> Image:
    """An image of an array in ITK's layout: (t, z, y, x) for scalars, vector components last.

    Raises:
        ImageError: more axes than space and channels, complex numbers, or sheared axes.
    """
    if array.dtype.kind == "c":
        raise complex_numbers(path, array.dtype)
    dimension, vector = len(header.size), header.components > 1
    if dimension not in (2, 3, 4) or (dimension == 4 and vector):
        raise ImageError(
            "the image has too many axes",
            where=path,
            got=f"size (x, y, z, ...) {header.size}, {counted(header.components, 'component')}",
            expected="two or three axes of space and at most one of channels",
            remedy="write each time point or channel as a file of its own",
        )
    if vector:
        array = np.ascontiguousarray(np.moveaxis(array, -1, 0))
    elif dimension < 4:
        array = array[None]
    if dimension == 2:
        array = array[:, None]
    return Image(array, rectified(header.geometry, array.shape[1:], path))


def complex_numbers(path: Path, dtype: np.dtype) -> ImageError:
    """The error for an image that is not of real numbers."""
    return ImageError(
        "the image has complex numbers",
        where=path,
        got=str(dtype),
        expected="real numbers",
        remedy="write magnitude (and phase, if it matters) as images of their own",
    )


def header_of(source: sitk.Image | sitk.ImageFileReader, components: int) -> Header:
    """Size and geometry of SimpleITK's image, or of a reader that has read the information of a file."""
    dimension = source.GetDimension()
    axes = min(dimension, 3)
    matrix = np.asarray(source.GetDirection()).reshape(dimension, dimension)[:axes, :axes]
    # Reversing rows turns world coordinates to (z, y, x), reversing columns turns array axes to (z, y, x).
    direction = np.eye(3)
    direction[3 - axes :, 3 - axes :] = matrix[::-1, ::-1]
    spacing = [float(value) for value in source.GetSpacing()[:axes][::-1]]
    origin = [float(value) for value in source.GetOrigin()[:axes][::-1]]
    geometry = Geometry(
        spacing=_vector([PLANE_SPACING] * (3 - axes) + spacing),
        origin=_vector([0.0] * (3 - axes) + origin),
        direction=(_vector(direction[0]), _vector(direction[1]), _vector(direction[2])),
        dimension=axes,
    )
    return Header(tuple(source.GetSize()), components, geometry)


def to_itk(image: Image, *, fourth_axis: bool) -> sitk.Image:
    """SimpleITK's image of an `Image`; several channels are vector components, or a fourth axis of a volume."""
    array, geometry = image.array, image.geometry
    axes = geometry.dimension
    if axes == 2:
        array = array[:, 0]
    spacing, origin, matrix = placement(geometry)
    if len(array) == 1:
        itk_image = library().GetImageFromArray(array[0], isVector=False)
    elif fourth_axis and axes == 3:
        itk_image = library().GetImageFromArray(array, isVector=False)
        spacing, origin = [*spacing, 1.0], [*origin, 0.0]
        matrix = np.block([[matrix, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])
    else:
        itk_image = library().GetImageFromArray(np.moveaxis(array, 0, -1), isVector=True)
    itk_image.SetSpacing(spacing)
    itk_image.SetOrigin(origin)
    itk_image.SetDirection(matrix.ravel().tolist())
    return itk_image


def scalar(image: Image) -> sitk.Image:
    """SimpleITK's image of an `Image` of one channel."""
    return to_itk(image, fourth_axis=False)


def placement(geometry: Geometry) -> tuple[list[float], list[float], np.ndarray]:
    """Spacing, origin and direction matrix in ITK's order."""
    axes = geometry.dimension
    spacing, origin = (list(values[::-1][:axes]) for values in (geometry.spacing, geometry.origin))
    return spacing, origin, np.asarray(geometry.direction)[::-1, ::-1][:axes, :axes]


def unreadable(path: Path, error: Exception | str) -> ImageError:
    """The error for a file whose bytes are not an image."""
    reason = error if isinstance(error, str) else reason_of(error)
    if "orthonormal" in reason:
        remedy = "write the file anew with orthogonal axes (resample it, or drop the shear from its sform)"
    else:
        remedy = "fetch the file again or remove the case"
    return ImageError(
        "the image cannot be read (damaged, truncated or not an image)", where=path, got=reason, remedy=remedy
    )


def reason_of(error: Exception) -> str:
    """The telling line of an ITK exception, without source positions and addresses."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "ERROR" in line] or lines[-1:] or [type(error).__name__]
    return re.sub(r"\w+\(0x[0-9a-f]+\):\s*", "", telling[0].split("ERROR:")[-1]).strip()


def _vector(values: Sequence[float] | np.ndarray) -> Vector:
    z, y, x = (float(value) for value in values)
    return z, y, x
