"""Registering images of different subjects, whose headers may place them anywhere in the world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from autoseg.data.image import Image
from autoseg.registration.methods import Options, Result, register
from autoseg.registration.pair import Pair, prepare
from autoseg.registration.quality import coverage
from autoseg.registration.space import Grid
from autoseg.registration.transforms import Affine, compose


def register_subjects(
    fixed: Image,
    moving: Image,
    options: Options | None = None,
    *,
    method: str = "multi-stage",
    seed: int = 0,
    device: str = "cpu",
) -> tuple[Pair, Result]:
    """As `methods.register`, but images without a common place in the world are laid centre on centre first.

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


def _shift(fixed: Grid, moving: Grid) -> tuple[float, ...] | None:
    """Way between the centres in mm where the images share no place; None where they do, or cannot be compared."""
    if fixed.dimension != moving.dimension:
        return None  # which `prepare` refuses
    if coverage(Affine.identity(fixed.dimension), fixed, moving) > 0:
        return None
    return tuple(np.subtract(moving.centre, fixed.centre).tolist())
