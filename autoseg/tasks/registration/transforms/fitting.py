"""The linear map that lays landmarks on each other, in the sense of least squares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from autoseg.errors import RegistrationError
from autoseg.tasks.registration.transforms.linear import Affine

if TYPE_CHECKING:
    from jaxtyping import Float

FitKind = Literal["translation", "rigid", "similarity", "affine"]

_FLAT = 1e-9  # smallest extent of the points over their largest, below which they do not fix a map


def fit_affine(
    points_fixed: Float[Tensor, "point dimension"],
    points_moving: Float[Tensor, "point dimension"],
    kind: FitKind = "affine",
) -> Affine:
    """The map of a kind that takes fixed landmarks closest to moving ones: least sum of squared distances.

    Rigid and similarity maps are proper: they do not mirror.

    Args:
        points_fixed, points_moving: (n, D) in mm, in the same order. At least one point for a translation, D points
            not all on one line (plane: not all in one place) for a rigid map or a similarity, D + 1 points not all on
            one plane (line) for an affine one.

    Returns:
        float64, centred at the mean of the fixed landmarks.

    Raises:
        RegistrationError: different or wrong shapes, an unknown kind, or points that do not fix the map.

    Source: Umeyama 1991, IEEE TPAMI 13(4), equations 40 to 43; affine: ordinary least squares.
    """
    _check(points_fixed, points_moving, kind)
    fixed, moving = points_fixed.detach().double(), points_moving.detach().double()
    centre, target = fixed.mean(dim=0), moving.mean(dim=0)
    before, after = fixed - centre, moving - target
    dimension = fixed.shape[1]
    if kind == "translation":
        matrix = torch.eye(dimension, dtype=fixed.dtype, device=fixed.device)
    elif kind == "affine":
        _check_spread(before, dimension)
        matrix = torch.linalg.lstsq(before, after, driver="gelsd" if before.device.type == "cpu" else None).solution.T
    else:
        _check_spread(before, dimension - 1)
        matrix = _turn(before, after, scaled=kind == "similarity")
    return Affine(matrix, target - centre, centre)


def _turn(before: Tensor, after: Tensor, *, scaled: bool) -> Tensor:
    """Rotation, times one scale if asked, that takes centred points closest to centred points."""
    u, sizes, v = torch.linalg.svd(after.T @ before)
    signs = torch.ones_like(sizes)
    signs[-1] = torch.sign(torch.linalg.det(u) * torch.linalg.det(v))
    rotation = (u * signs) @ v
    return rotation * ((sizes * signs).sum() / before.square().sum()) if scaled else rotation


def _check(fixed: Tensor, moving: Tensor, kind: str) -> None:
    if fixed.shape != moving.shape or fixed.ndim != 2 or fixed.shape[1] not in (2, 3) or not len(fixed):
        raise RegistrationError(
            "the landmarks of the two images do not correspond",
            got=f"shapes {tuple(fixed.shape)} and {tuple(moving.shape)}",
            expected="the same number of points, at least one, of two or three coordinates in both",
        )
    if kind not in ("translation", "rigid", "similarity", "affine"):
        raise RegistrationError("no such fit", got=kind, expected="translation, rigid, similarity or affine")


def _check_spread(centred: Tensor, axes: int) -> None:
    """Centred points must extend along this many axes."""
    sizes = torch.linalg.svdvals(centred)
    if len(sizes) < axes or not sizes[axes - 1] > _FLAT * sizes[0] or not sizes[0] > 0:
        raise RegistrationError(
            "the landmarks do not fix the transform",
            got=f"{len(centred)} points that extend along fewer than {axes} axes",
            expected=f"points that do not lie {('in one place', 'on one line', 'on one plane')[axes - 1]}",
            remedy="give more landmarks or fit a simpler kind of transform",
        )
