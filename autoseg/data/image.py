"""What an image is: an array with channels and the geometry that places it in the patient's world."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

PLANE_SPACING = 999.0
"""Spacing in mm given to the missing z axis of a 2D image (nnU-Net's convention, so that plans agree)."""

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of an image lie. All in the order (z, y, x), millimetres.

    Attributes:
        spacing: distance between voxel centres along each array axis.
        origin: world position of the first voxel's centre.
        direction: direction cosines; column j is the world direction of array axis j.
        dimension: 3, or 2 for a plane image, whose array has Z = 1 and whose z spacing is `PLANE_SPACING`.
    """

    spacing: Vector = (1.0, 1.0, 1.0)
    origin: Vector = (0.0, 0.0, 0.0)
    direction: tuple[Vector, Vector, Vector] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    dimension: int = 3

    @classmethod
    def plane(cls, spacing: tuple[float, float] = (1.0, 1.0)) -> Geometry:
        """The geometry of a 2D image with spacing (y, x)."""
        return cls(spacing=(PLANE_SPACING, *spacing), dimension=2)

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in mm3, or area of one pixel in mm2 for a plane image."""
        z, y, x = self.spacing
        return y * x if self.dimension == 2 else z * y * x


@dataclass(frozen=True)
class Image:
    """An image: `array` of shape (C, Z, Y, X) in the file's own dtype, and its geometry."""

    array: np.ndarray
    geometry: Geometry

    @property
    def shape(self) -> tuple[int, int, int]:
        """The spatial shape (Z, Y, X)."""
        z, y, x = self.array.shape[1:]
        return z, y, x

    def with_array(self, array: np.ndarray) -> Image:
        """Another array in the same place."""
        return replace(self, array=array)


@dataclass(frozen=True)
class IntensityStatistics:
    """Intensities of one channel inside the foreground, pooled over a data set (in the image's own unit)."""

    mean: float
    median: float
    std: float
    min: float
    max: float
    percentile_00_5: float
    percentile_99_5: float
