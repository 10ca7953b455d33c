"""How images come onto a network's grid, and where that grid lies in the world.

Every image is turned to the axes of the world first (by exchanging and reversing array axes, without interpolation), so
that a network always sees anatomy the same way round. Then its middle is laid on the middle of the grid, in whole
voxels, and what the image does not reach is continued by its border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoseg.data.image import Image
from autoseg.data.orientation import Orientation
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.preprocessing.prepare import preprocess_case
from autoseg.preprocessing.record import CaseProperties
from autoseg.tasks.registration.space import Grid


@dataclass(frozen=True)
class NetworkImage:
    """An image as the network wants it: turned, cropped, normalised and resampled.

    Attributes:
        values: (C, *S) float32.
        grid: where its voxels lie in the world.
    """

    values: Tensor
    grid: Grid


def prepare_image(image: Image, plan: Plan, configuration: ConfigurationPlan) -> NetworkImage:
    """An image brought to a plan's spacing and intensities, as its training cases were.

    Raises:
        ImageError: the channels are not the plan's, or a normalisation refuses the intensities.
    """
    turned = Orientation.of(image.geometry).turn_image(image)
    case = preprocess_case(turned, None, plan, configuration)
    values = case.data[:, 0] if configuration.dimension == 2 else case.data
    return NetworkImage(torch.from_numpy(np.ascontiguousarray(values)), _grid(case.properties, configuration.dimension))


def _grid(properties: CaseProperties, dimension: int) -> Grid:
    """Where the voxels of a preprocessed case lie in the world; the plan leaves axes in the order of the file."""
    whole = Grid.of(properties.geometry, properties.shape_before_crop)
    start = torch.tensor([first for first, _ in properties.crop_box][-dimension:], dtype=torch.float64)
    origin = tuple(whole.to_world(start).tolist())
    return Grid(properties.shape_before_resampling[-dimension:], whole.matrix, origin).resized(
        properties.shape[-dimension:]
    )


def first_voxel(shape: Sequence[int], grid_shape: Sequence[int]) -> tuple[int, ...]:
    """Index in an image of the first voxel of a grid whose middle lies on the image's; below 0 where it is smaller."""
    return tuple((n - m) // 2 for n, m in zip(shape, grid_shape, strict=True))


def centred(grid: Grid, shape: Sequence[int]) -> Grid:
    """A grid of another shape on the voxels of this one, middle on middle."""
    start = torch.tensor(first_voxel(grid.shape, shape), dtype=torch.float64)
    return Grid(tuple(shape), grid.matrix, tuple(grid.to_world(start).tolist()))


def continued(array: np.ndarray, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """A box of the last axes of an array; what lies beyond the array is continued by its border.

    Args:
        array: (..., *S).
        start: index of the first voxel; may lie outside.
        size: voxels per axis.

    Returns:
        (..., *size), in memory of its own.
    """
    lead = array.ndim - len(size)
    for axis, (first, length) in enumerate(zip(start, size, strict=True), start=lead):
        index = np.clip(np.arange(first, first + length), 0, array.shape[axis] - 1)
        array = array.take(index, axis=axis)
    return np.ascontiguousarray(array)


def covered(shape: Sequence[int], start: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """(*size) bool: which voxels of a box lie in an image of that shape."""
    mask = np.ones(tuple(size), dtype=bool)
    for axis, (length, first, n) in enumerate(zip(shape, start, size, strict=True)):
        index = np.arange(first, first + n)
        inside = (index >= 0) & (index < length)
        mask &= inside.reshape(-1, *[1] * (len(shape) - axis - 1))
    return mask
