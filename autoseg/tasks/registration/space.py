"""Where voxels lie in the world, and the values of an image at any point of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autoseg.data.image import PLANE_SPACING, Geometry, Image
from autoseg.errors import ImageError
from autoseg.tasks.registration.cubic_interpolation import keys_weights, weighted_sum

Interpolation = Literal["linear", "nearest", "cubic"]


@dataclass(frozen=True)
class Grid:
    """Voxel centres in the world: `matrix @ index + origin`, in mm.

    Axes of the array and of the world are in the project's order, (z, y, x), or (y, x) for a plane.

    Attributes:
        shape: voxels along each of the D axes, 2 or 3.
        matrix: (D, D), index to mm; column j is the step along array axis j.
        origin: (D,), world point of the first voxel's centre.
    """

    shape: tuple[int, ...]
    matrix: tuple[tuple[float, ...], ...]
    origin: tuple[float, ...]

    def __post_init__(self) -> None:
        array = np.asarray(self.matrix, dtype=float)
        fits = array.shape == (len(self.shape),) * 2 and len(self.origin) == len(self.shape) in (2, 3)
        finite = fits and np.isfinite(array).all() and np.isfinite(self.origin).all()
        if not finite or min(self.shape) < 1 or not abs(np.linalg.det(array)) > 0:
            raise ImageError(
                "the image has no usable place in the world",
                got=f"shape {self.shape}, index to mm {self.matrix}, origin {self.origin}",
                expected="two or three axes of at least one voxel, with finite spacing above zero",
                remedy="check spacing, direction and origin in the image's header",
            )

    @classmethod
    def of(cls, source: Image | Geometry, shape: Sequence[int] | None = None) -> Grid:
        """The grid of an image, or of a geometry with a shape.

        Args:
            source: a plane (`Geometry.dimension` 2) has a grid of two axes.
            shape: (Z, Y, X), or (Y, X) for a plane; an image's own by default.

        Raises:
            ImageError: spacing is zero or not finite, or axes are not independent.
        """
        if isinstance(source, Image):
            shape, source = source.shape if shape is None else shape, source.geometry
        if shape is None:
            raise ImageError("the grid of a geometry needs a shape")
        first = 3 - source.dimension
        matrix = (np.asarray(source.direction) * np.asarray(source.spacing))[first:, first:]
        return cls(
            shape=tuple(int(n) for n in shape)[-source.dimension :],
            matrix=tuple(tuple(float(value) for value in row) for row in matrix),
            origin=tuple(float(value) for value in source.origin[first:]),
        )

    def geometry(self) -> Geometry:
        """The same grid as a `Geometry`; spacings are the lengths of the matrix's columns."""
        first = 3 - self.dimension
        direction = np.eye(3)
        direction[first:, first:] = self._matrix / self._spacing
        z, y, x = (tuple(float(value) for value in row) for row in direction)
        return Geometry(
            spacing=(PLANE_SPACING,) * first + self.spacing,  # type: ignore[arg-type]
            origin=(0.0,) * first + self.origin,  # type: ignore[arg-type]
            direction=(z, y, x),  # type: ignore[arg-type]
            dimension=self.dimension,
        )

    @property
    def dimension(self) -> int:
        """D: 2 or 3."""
        return len(self.shape)

    @cached_property
    def spacing(self) -> tuple[float, ...]:
        """Distance in mm between neighbours along each array axis."""
        return tuple(float(value) for value in self._spacing)

    @cached_property
    def centre(self) -> tuple[float, ...]:
        """World point in the middle of the field of view, mm."""
        middle = (np.asarray(self.shape) - 1) / 2
        return tuple(float(value) for value in self._matrix @ middle + self.origin)

    @cached_property
    def diagonal(self) -> float:
        """Length in mm of the field of view's diagonal, from corner to corner of the outermost voxels."""
        extents = np.asarray(self.shape) * self._spacing
        return math.sqrt(float((extents**2).sum()))

    @cached_property
    def _matrix(self) -> np.ndarray:
        return np.asarray(self.matrix, dtype=float)

    @cached_property
    def _spacing(self) -> np.ndarray:
        return np.linalg.norm(self._matrix, axis=0)

    @cached_property
    def _inverse(self) -> np.ndarray:
        return np.linalg.inv(self._matrix)

    def index(self, like: Tensor) -> Tensor:
        """The voxels' own indices.

        Returns:
            (*S, D), of the dtype and on the device of `like`.
        """
        axes = [torch.arange(n, dtype=like.dtype, device=like.device) for n in self.shape]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)

    def points(self, like: Tensor) -> Tensor:
        """World points of all voxel centres, mm.

        Returns:
            (*S, D), of the dtype and on the device of `like`.
        """
        return self.to_world(self.index(like))

    def to_world(self, index: Tensor) -> Tensor:
        """Continuous indices (..., D) to mm."""
        return index @ _like(self._matrix.T, index) + _like(self.origin, index)

    def to_index(self, points: Tensor) -> Tensor:
        """World points (..., D) in mm to continuous indices."""
        return (points - _like(self.origin, points)) @ _like(self._inverse.T, points)

    def steps_to_index(self, vectors: Tensor) -> Tensor:
        """World vectors (..., D) in mm (differences of points) to differences of indices."""
        return vectors @ _like(self._inverse.T, vectors)

    def derivatives_to_world(self, derivatives: Tensor) -> Tensor:
        """Derivatives (..., D) by index to derivatives by world point, per mm."""
        return derivatives @ _like(self._inverse, derivatives)

    def resized(self, shape: Sequence[int]) -> Grid:
        """Another number of voxels in the same field of view: the outer corners of the outermost voxels stay."""
        scale = np.asarray(self.shape) / np.asarray(tuple(shape))
        origin = self._matrix @ ((scale - 1) / 2) + self.origin
        return Grid(
            shape=tuple(int(n) for n in shape),
            matrix=tuple(tuple(float(value) for value in row) for row in self._matrix * scale),
            origin=tuple(float(value) for value in origin),
        )


def sample(
    image: Tensor,
    grid: Grid,
    points: Tensor,
    *,
    mode: Interpolation = "linear",
    outside: Literal["border"] | float = "border",
) -> Tensor:
    """The values of an image at world points.

    Args:
        image: (C, *S) on `grid`.
        grid: of the image.
        points: (..., D) in mm.
        mode: `linear`; `nearest` (halves round up, as ITK does), which keeps the image's dtype; `cubic` convolution
            (`cubic_interpolation.keys_weights`), which may overshoot. `linear` and `cubic` take integers as float32.
        outside: `border` continues the image with its outermost voxels; a number is the value where a point is not
            `inside` the field of view.

    Returns:
        (C, ...); differentiable in image and points (`nearest`: in the image alone). No points give an empty tensor.
    """
    return sample_index(image, grid.to_index(points), mode=mode, outside=outside)


def sample_index(
    image: Tensor, index: Tensor, *, mode: Interpolation = "linear", outside: Literal["border"] | float = "border"
) -> Tensor:
    """`sample` at continuous indices instead of world points.

    Args:
        image: (C, *S).
        index: (..., D).
        mode, outside: as of `sample`.

    Returns:
        (C, ...).
    """
    if mode == "nearest":
        values = _nearest(image, index)
    else:
        image = image if image.is_floating_point() else image.float()
        values = (_linear if mode == "linear" else _cubic)(image, index.to(image.dtype))
    if outside == "border":
        return values
    return torch.where(_within(index, image.shape[1:]), values, torch.full_like(values[:1], outside))


def inside(grid: Grid, points: Tensor) -> Tensor:
    """Whether world points (..., D) lie in the field of view, half a voxel around the outermost centres.

    Returns:
        (...) bool.
    """
    return _within(grid.to_index(points), grid.shape)


def normalized(index: Tensor, shape: Sequence[int]) -> Tensor:
    """Continuous indices (..., D) as `torch.nn.functional.grid_sample` takes them with `align_corners=False`.

    There -1 and 1 are the outer corners of the outermost voxels, so that an axis of one voxel has a scale too; the
    order is (x, y, z).
    """
    lengths = torch.tensor(tuple(shape), dtype=index.dtype, device=index.device)
    return ((2 * index + 1) / lengths - 1).flip(-1)


def _linear(image: Tensor, index: Tensor) -> Tensor:
    dimension, shape = index.shape[-1], index.shape[:-1]
    points = normalized(index, image.shape[1:])
    points = points if len(shape) == dimension else points.reshape(*[1] * (dimension - 1), -1, dimension)
    if not points.numel():
        return image.new_zeros((len(image), *shape))
    # "border" clamps to the outermost centres; what is not a number it would take for an address
    points = points.nan_to_num(nan=-1.0)
    values = functional.grid_sample(image[None], points[None], "bilinear", "border", align_corners=False)
    return values[0].reshape(len(image), *shape)


def _nearest(image: Tensor, index: Tensor) -> Tensor:
    voxel = torch.zeros(index.shape[:-1], dtype=torch.int64, device=index.device)
    for axis, length in enumerate(image.shape[1:]):
        voxel = voxel * length + (index[..., axis].detach() + 0.5).floor().long().clamp(0, length - 1)
    return image.flatten(1)[:, voxel]


def _cubic(image: Tensor, index: Tensor) -> Tensor:
    # a clamped index, not only clamped neighbours: beyond the border the image is constant, as for `linear`
    last = torch.tensor([n - 1 for n in image.shape[1:]], dtype=index.dtype, device=index.device)
    index = torch.minimum(index.clamp(min=0), last)
    base = index.detach().floor()
    return weighted_sum(image, base.long(), keys_weights(index - base))


def _within(index: Tensor, shape: Sequence[int]) -> Tensor:
    lengths = torch.tensor(tuple(shape), dtype=index.dtype, device=index.device)
    return ((index >= -0.5) & (index <= lengths - 0.5)).all(dim=-1)


def _like(values: np.ndarray | Sequence[float], like: Tensor) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=like.dtype, device=like.device)
