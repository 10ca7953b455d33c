"""What preprocessing makes of a case: arrays in plan space and the properties that lead back to the original."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoseg.data.image import CropBox, Geometry
from autoseg.records import Record

Shape = tuple[int, int, int]
Vector = tuple[float, float, float]


class CaseProperties(Record):
    """The way of a case from its file to plan space. Axes in plan order unless said otherwise.

    Attributes:
        channels: image channels.
        geometry: the original image's, in the file's axis order (z, y, x).
        transpose: plan axis i is the file's axis `transpose[i]`.
        reversed: whether plan axis i runs the other way than the file's.
        shape_before_crop: the whole image, transposed.
        crop_box: the non-zero region in it.
        shape: after resampling.
        spacing: mm per voxel after resampling.
    """

    channels: int
    geometry: Geometry
    transpose: Shape
    shape_before_crop: Shape
    crop_box: CropBox
    shape: Shape
    spacing: Vector
    reversed: tuple[bool, bool, bool] = (False, False, False)

    @property
    def shape_before_resampling(self) -> Shape:
        """Voxels of the crop box."""
        (z0, z1), (y0, y1), (x0, x1) = self.crop_box
        return z1 - z0, y1 - y0, x1 - x0

    @property
    def spacing_before_resampling(self) -> Vector:
        """The original spacing."""
        a, b, c = self.transpose
        spacing = self.geometry.spacing
        return spacing[a], spacing[b], spacing[c]

    @property
    def crop(self) -> tuple[slice, slice, slice]:
        """The crop box as an index."""
        z, y, x = self.crop_box
        return slice(*z), slice(*y), slice(*x)


@dataclass(frozen=True)
class PreparedCase:
    """A case in plan space.

    Attributes:
        data: (C, Z, Y, X) float32, normalised.
        labels: (Z, Y, X) int8 (int16 above 127) training values, `OUTSIDE` beyond the non-zero region; None if
            the case has no labels.
        properties: the way back.
    """

    data: np.ndarray
    labels: np.ndarray | None
    properties: CaseProperties
