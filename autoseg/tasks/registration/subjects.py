"""Registering images of different subjects, which may lie anywhere in the world by their headers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from autoseg.data.image import Geometry, Image
from autoseg.tasks.registration.methods import RegistrationOptions, RegistrationResult, register
from autoseg.tasks.registration.pair import ImagePair, prepare
from autoseg.tasks.registration.quality import coverage
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Affine, compose
from autoseg.tasks.registration.warp import warp_labels


def register_subjects(
    fixed: Image,
    moving: Image,
    options: RegistrationOptions | None = None,
    *,
    method: str = "multi-stage",
    seed: int = 0,
    device: str = "cpu",
) -> tuple[ImagePair, RegistrationResult]:
    """As `methods.register`, but images without a common field of view are laid centre on centre first.

    Args:
        fixed, moving: the subjects' images.
        options: defaults if None.
        method: name of a plug-in of kind `registration`.
        seed: of what a method draws at random.
        device: where it computes.

    Returns:
        The pair as it was registered (the moving image perhaps moved), and the result, whose transform leads to the
        moving image as its own header places it.

    Raises:
        RegistrationError: as of `prepare` and the method.
    """
    shift = _shift(Grid.of(fixed), Grid.of(moving))
    if shift is None:
        pair = prepare(fixed, moving)
        return pair, register(pair, options, method=method, seed=seed, device=device)
    geometry = moving.geometry
    z, y, x = np.subtract(geometry.origin, (0.0,) * (3 - len(shift)) + shift).tolist()
    pair = prepare(fixed, Image(moving.array, replace(geometry, origin=(z, y, x))))
    result = register(pair, options, method=method, seed=seed, device=device)
    identity = Affine.identity(len(shift))
    back = Affine(identity.matrix, torch.tensor(shift, dtype=torch.float64), identity.centre)
    return pair, replace(result, transform=compose(result.transform, back))


def transfer_labels(
    labels: Image, moving: Image, fixed: Image, onto: Geometry, shape: tuple[int, int, int], *, method: str
) -> np.ndarray:
    """Labels of one subject on another's voxels: a plug-in of kind "label transfer".

    Args:
        labels: integers (1, Z, Y, X), in the world of `moving`.
        moving, fixed: the subjects' images, which may be coarser than what they were made from.
        onto, shape: voxels to fill, in the world of `fixed`.
        method: name of a plug-in of kind "registration".

    Returns:
        (Z, Y, X) of the labels' dtype; each voxel has the nearest one's value, 0 where the moving image does not reach.

    Raises:
        RegistrationError: the images cannot be registered.
    """
    _, result = register_subjects(fixed, moving, method=method)
    return warp_labels(labels, result.transform, onto, shape).array[0]


def _shift(fixed: Grid, moving: Grid) -> tuple[float, ...] | None:
    """Way between the centres in mm where the images do not overlap; None where they do, or cannot be compared."""
    if fixed.dimension != moving.dimension:
        return None  # which `prepare` refuses
    if coverage(Affine.identity(fixed.dimension), fixed, moving) > 0:
        return None
    return tuple(np.subtract(moving.centre, fixed.centre).tolist())
