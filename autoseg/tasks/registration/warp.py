"""Images, labels and points taken through a transform onto another grid, in slabs so that large images fit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from autoseg.data.image import Geometry, Image
from autoseg.tasks.registration.space import Grid, Interpolation, inside, sample
from autoseg.tasks.registration.transforms import Displacement, SpatialTransform

LabelInterpolation = Literal["nearest", "linear"]

_SLAB_VOXELS = 2**21
"""Points at once: their coordinates and what a transform makes of them take some hundred MB."""


def warp_image(
    image: Image,
    transform: SpatialTransform,
    onto: Geometry,
    shape: Sequence[int],
    *,
    mode: Interpolation = "linear",
    outside: Literal["border"] | float = 0.0,
    device: torch.device | str = "cpu",
) -> Image:
    """A moving image on the grid of a fixed one: `warped(p) = moving(transform(p))`.

    Args:
        image: (C, Z, Y, X) of any number type.
        transform: from the fixed image's world to the moving one's.
        onto, shape: geometry and shape, (Z, Y, X) or (Y, X), of the fixed image.
        mode: how values between voxels are found (see `space.sample`).
        outside: the value where the moving image does not reach; "border" continues it with its outermost voxels.
        device: to compute on.

    Returns:
        float32 (C, Z, Y, X) with the fixed image's geometry.
    """
    target, source = Grid.of(onto, shape), Grid.of(image)
    values = _tensor(image.array.astype(np.float32, copy=False), source, device)
    warped = np.empty((len(image.array), *target.shape), np.float32)
    for slab, points in mapped(transform, target, device):
        warped[:, slab] = sample(values, source, points, mode=mode, outside=outside).cpu().numpy()
    return Image(_with_three_axes(warped), onto)


def warp_labels(
    image: Image,
    transform: SpatialTransform,
    onto: Geometry,
    shape: Sequence[int],
    *,
    interpolation: LabelInterpolation = "nearest",
    outside: int = 0,
    device: torch.device | str = "cpu",
) -> Image:
    """Labels of a moving image on the grid of a fixed one.

    Args:
        image: integers (1, Z, Y, X).
        transform, onto, shape, device: as of `warp_image`.
        interpolation: `nearest` takes the nearest voxel's value, as challenges and other tools do (halves round up, as
            in ITK). `linear` takes the label whose mask, interpolated linearly, is largest: smoother outlines. Scores
            of the two differ: say which one a score is of.
        outside: the value where the moving image does not reach.

    Returns:
        (1, Z, Y, X) with the fixed image's geometry and the moving one's dtype, or int32 where that cannot hold
        `outside`.
    """
    target, source = Grid.of(onto, shape), Grid.of(image)
    dtype = image.array.dtype if outside <= np.iinfo(image.array.dtype).max else np.dtype(np.int32)
    labels = _tensor(image.array.astype(np.int32), source, device)
    warped = np.empty((1, *target.shape), dtype)
    for slab, points in mapped(transform, target, device):
        if interpolation == "nearest":
            values = sample(labels, source, points, mode="nearest", outside=outside)
        else:
            values = _most_likely(labels, source, points, outside)
        warped[:, slab] = values.cpu().numpy().astype(dtype)
    return Image(_with_three_axes(warped), onto)


def warp_points(points: np.ndarray, transform: SpatialTransform, device: torch.device | str = "cpu") -> np.ndarray:
    """Points of the fixed image's world taken to the moving one's.

    An image is warped by fetching values: `transform` leads from fixed to moving, and so do points. To take landmarks
    of the moving image to the fixed one, use `transform.inverse()`.

    Args:
        points: (n, D) in mm; n may be 0.

    Returns:
        float64 (n, D) in mm.
    """
    warped: np.ndarray = transform(torch.as_tensor(points, dtype=point_type(device), device=device)).cpu().numpy()
    return warped.astype(np.float64)


def mapped(
    transform: SpatialTransform, grid: Grid, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """Where a transform takes the voxels of a grid, some rows of its first axis at a time.

    Args:
        transform: from the grid's world.
        grid: whose voxels are taken.
        device: to compute on.
        dtype: of the points; the best that the device has by default.

    Yields:
        (the rows, their points of shape (n, *S[1:], D) after the transform, in mm).
    """
    own = isinstance(transform, Displacement) and transform.grid == grid
    for slab, points in slabs(grid, device, dtype):
        # a field on this very grid need not be interpolated
        shift = transform.field[:, slab].to(points).movedim(0, -1) if own else None  # type: ignore[attr-defined]
        yield slab, transform(points) if shift is None else points + shift


def slabs(
    grid: Grid, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """World points of all voxels of a grid, as `mapped` without a transform."""
    rows = slab_rows(grid)
    dtype = point_type(device) if dtype is None else dtype
    for start in range(0, grid.shape[0], rows):
        slab = slice(start, min(grid.shape[0], start + rows))
        ranges = [(slab.start, slab.stop), *((0, length) for length in grid.shape[1:])]
        axes = [torch.arange(*ends, dtype=dtype, device=device) for ends in ranges]
        yield slab, grid.to_world(torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1))


def slab_rows(grid: Grid) -> int:
    """Rows of a grid's first axis that are worked on at once."""
    return max(1, _SLAB_VOXELS // max(1, math.prod(grid.shape[1:])))


def point_type(device: torch.device | str) -> torch.dtype:
    """Precision of points: world coordinates can be large beside a voxel. MPS has no double precision."""
    return torch.float32 if torch.device(device).type == "mps" else torch.float64


def _most_likely(labels: Tensor, grid: Grid, points: Tensor, outside: int) -> Tensor:
    """Values whose interpolated masks are largest; the smallest of equal ones.

    Args:
        labels: (1, *S) on `grid`.
        grid: of the labels.
        points: (..., D) in mm.
        outside: value beyond the field of view.

    Returns:
        (1, ...) int32.
    """
    best = torch.zeros((1, *points.shape[:-1]), device=labels.device)
    values = torch.zeros_like(best, dtype=torch.int32)
    for value in labels.unique().tolist():
        share = sample((labels == value).float(), grid, points)
        better = share > best
        best = torch.where(better, share, best)
        values = torch.where(better, torch.full_like(values, value), values)
    return torch.where(inside(grid, points), values, torch.full_like(values, outside))


def _tensor(array: np.ndarray, grid: Grid, device: torch.device | str) -> Tensor:
    """(C, Z, Y, X) as (C, *S)."""
    return torch.as_tensor(np.ascontiguousarray(array).reshape(len(array), *grid.shape), device=device)


def _with_three_axes(array: np.ndarray) -> np.ndarray:
    """(C, *S) as (C, Z, Y, X)."""
    return array if array.ndim == 4 else array[:, None]
