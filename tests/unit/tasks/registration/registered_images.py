"""Small images of a known way between them, and a method that knows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from autoseg.data.files import write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.errors import RegistrationError
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult, StageReport
from autoseg.tasks.registration.pair import ImagePair
from autoseg.tasks.registration.transforms import Affine, Displacement, compose

SHIFT = (2.0, -3.0, 4.0)
"""mm (z, y, x) from the fixed to the moving image."""

FIXED = Geometry(spacing=(2.0, 1.0, 1.0), origin=(0.0, 5.0, -10.0))
MOVING = Geometry(spacing=(1.0, 1.5, 1.0), origin=(-1.0, 3.0, -8.0), direction=((1, 0, 0), (0, 0, 1), (0, 1, 0)))
SHAPES = (14, 26, 24), (26, 22, 26)


def ball(geometry: Geometry, shape: tuple[int, ...], shift: tuple[float, ...]) -> np.ndarray:
    """Distance of each voxel from a point that lies `shift` further in the moving world."""
    first = 3 - geometry.dimension
    matrix = (np.asarray(geometry.direction) * np.asarray(geometry.spacing))[first:, first:]
    index = np.stack(np.meshgrid(*(np.arange(length) for length in shape[first:]), indexing="ij"), axis=-1)
    points = index @ matrix.T + np.asarray(geometry.origin[first:])
    centre = np.add((13.0, 17.0, 2.0)[first:], shift[first:])
    distance: np.ndarray = np.linalg.norm((points - centre) / (1.0, 0.9, 0.7)[first:], axis=-1).reshape(shape)
    return distance


def write_pair(folder: Path) -> dict[str, Path]:
    """Images, labels (values 1 inside 2) and landmarks of a pair of volumes; name -> file."""
    sides = (("fixed", FIXED, SHAPES[0], (0.0, 0.0, 0.0)), ("moving", MOVING, SHAPES[1], SHIFT))
    files = {}
    for name, geometry, shape, shift in sides:
        distance = ball(geometry, shape, shift)
        files[name] = folder / f"{name}.nii.gz"
        array = (1000 * np.exp(-((distance / 6) ** 2))).astype(np.int16)
        write_image(files[name], Image(array[None], geometry))
        files[f"{name}_labels"] = folder / f"{name}_labels.nii.gz"
        labels = np.where(distance < 4, 1, np.where(distance < 8, 2, 0))
        write_labels(files[f"{name}_labels"], labels.astype(np.uint8), geometry)
        z, y, x = np.add((13.0, 17.0, 2.0), shift)
        files[f"{name}_landmarks"] = folder / f"{name}.csv"
        rows = [f"{x + a},{y + b},{z}" for a, b in ((0, 0), (2, 1), (-1, 3))]
        files[f"{name}_landmarks"].write_text("\n".join(["x,y,z", *rows]), encoding="utf-8")
    return files


def known(pair: ImagePair, options: RegistrationOptions, *, seed: int, device: torch.device) -> RegistrationResult:
    """Goes the known way, and waves a little where a deformable stage is asked for.

    Names its stages after what was asked; refuses pictures.
    """
    dimension = pair.dimension
    if dimension == 2 and options.similarity == "ssd":
        raise RegistrationError("no", where="picture")
    identity = Affine.identity(dimension)
    shift = torch.tensor(SHIFT[3 - dimension :], dtype=torch.float64)
    transform = Affine(identity.matrix, shift, identity.centre)
    stages = tuple(
        StageReport(name, options.similarity or "ncc", 0.5, 0.25, 3, 0.5, "converged") for name in options.stages
    )
    if "deformable" not in options.stages:
        return RegistrationResult(transform, "known", stages)
    field = torch.zeros((dimension, *pair.fixed_grid.shape))
    field[-1] = 0.2 * torch.sin(torch.arange(pair.fixed_grid.shape[-2]) / 2.0)[:, None]
    return RegistrationResult(compose(Displacement(pair.fixed_grid, field), transform), "known", stages, ("waved",))
