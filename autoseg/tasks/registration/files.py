"""Transforms on disk, in forms that ITK's tools read: the files of `data.itk.transforms`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autoseg.data import itk
from autoseg.errors import RegistrationError
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import (
    Affine,
    BSpline,
    Composite,
    Displacement,
    SpatialTransform,
    Velocity,
    as_displacement,
    compose,
)


def write_transform(path: str | Path, transform: SpatialTransform, grid: Grid | None = None) -> None:
    """Writes a transform as ITK's affine transforms and displacement fields, composed where there are several.

    Our composites name the part that is applied first first; ITK's apply the last one first. The order is turned in
    the file, so that ITK maps points as `transform` does. Velocities and B-splines become displacements of their own
    grids' voxels. Outside of a field's grid ITK moves points not at all, where ours continue the border.

    Args:
        path: ends in `.tfm` or `.txt` (text: meant for affine maps) or in `.h5` or `.hdf5`.
        grid: the fixed image's, on which a transform that ITK does not know (`Perspective`) becomes displacements.

    Raises:
        RegistrationError: `grid` is needed and missing.
        ImageError: another ending, or the file cannot be written.
    """
    itk.write_transform(Path(path), [_to_part(part) for part in _itk_parts(transform, grid)])


def read_transform(path: str | Path) -> SpatialTransform:
    """A transform from a file of ITK's: linear ones of all kinds, displacement fields, and composites of them.

    Returns:
        Matrices in float64, fields in float32, on the CPU; neighbouring affine maps joined.

    Raises:
        ImageError: unreadable, or a transform of another kind (ITK's B-spline).
    """
    return compose(*(_from_part(part) for part in itk.read_transform(Path(path))))


def write_displacement(path: str | Path, displacement: Displacement) -> None:
    """Writes displacements as an image of float32 vectors in mm, NIfTI (`.nii.gz`) or any format of ITK's that can.

    Raises:
        ImageError: the file cannot be written.
    """
    itk.write_displacement(Path(path), _field_part(displacement))


def read_displacement(path: str | Path) -> Displacement:
    """Displacements from an image of vectors in mm (LPS), float32.

    Raises:
        ImageError: unreadable, or not one component per axis.
    """
    return _from_field(itk.read_displacement(Path(path)))


def _itk_parts(transform: SpatialTransform, grid: Grid | None) -> list[Affine | Displacement]:
    """The parts as ITK knows them, or all of them as one field."""
    whole = compose(transform)
    parts: list[Affine | Displacement] = []
    for part in whole.parts if isinstance(whole, Composite) else (whole,):
        if isinstance(part, (Velocity, BSpline)):
            parts.append(part.displacement)
        elif isinstance(part, (Affine, Displacement)):
            parts.append(part)
        elif grid is not None:
            return [as_displacement(whole, grid)]
        else:
            raise RegistrationError(
                "the transform has a part that ITK does not know, and no grid was given to sample it on",
                got=type(part).__name__,
                remedy="pass the fixed image's grid",
            )
    return parts


def _to_part(part: Affine | Displacement) -> itk.LinearPart | itk.FieldPart:
    if isinstance(part, Displacement):
        return _field_part(part)
    return itk.LinearPart(_array(part.matrix), _array(part.translation), _array(part.centre))


def _from_part(part: itk.LinearPart | itk.FieldPart) -> Affine | Displacement:
    if isinstance(part, itk.FieldPart):
        return _from_field(part)
    return Affine(*(torch.from_numpy(array).double() for array in (part.matrix, part.translation, part.centre)))


def _field_part(displacement: Displacement) -> itk.FieldPart:
    return itk.FieldPart(_array(displacement.field), displacement.grid.geometry())


def _from_field(part: itk.FieldPart) -> Displacement:
    grid = Grid.of(part.geometry, part.field.shape[1:])
    return Displacement(grid, torch.from_numpy(part.field.astype(np.float32)))


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().cpu().double().numpy()
    return array
