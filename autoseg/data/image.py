"""What an image is: an array with channels and the geometry that places it in the patient's world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

PLANE_SPACING = 999.0
"""Spacing in mm given to the missing z axis of a 2D image (nnU-Net's convention, so that plans agree)."""

Vector = tuple[float, float, float]

CropBox = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""(start, stop) per axis (z, y, x)."""


@dataclass(frozen=True)
class NiftiPlace:
    """What a NIfTI header says of the place of its voxels, as it stands there: kept so that it can be written again.

    Attributes:
        pixdim: the header's eight, the first of which is the sign of the third axis of the qform.
        qform: quaternion b, c, d and offset x, y, z.
        sform: three rows of four.
        qform_code, sform_code: what the two lead to; 0 says that they are not set.
        units: of space and time.
    """

    pixdim: tuple[float, ...]
    qform: tuple[float, ...]
    sform: tuple[float, ...]
    qform_code: int
    sform_code: int
    units: int


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of an image lie. All in the order (z, y, x), millimetres.

    Attributes:
        spacing: distance between voxel centres along each array axis.
        origin: world position of the first voxel's centre.
        direction: direction cosines; column j is the world direction of array axis j.
        dimension: 3, or 2 for a plane image, whose array has Z = 1 and whose z spacing is `PLANE_SPACING`.
        stored: the header that it was read from, for a file that is to have the same; it does not count in comparisons.
    """

    spacing: Vector = (1.0, 1.0, 1.0)
    origin: Vector = (0.0, 0.0, 0.0)
    direction: tuple[Vector, Vector, Vector] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    dimension: int = 3
    stored: NiftiPlace | None = field(default=None, compare=False)

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
class Remark:
    """What a reader has to say of a file that it could read: an assumption, an oddity, a correction.

    Attributes:
        code: stable name of its kind ("gantry-tilt"); remarks of one kind are told together.
        what: what is odd and what was made of it, in one clause without names and numbers.
        got: what was found in this file.
        remedy: what to do if that is not right.
    """

    code: str
    what: str
    got: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class Segment:
    """A structure that a label file names: the voxels of one channel that have one value.

    Several segments may share a channel, with different values; a voxel that is in two segments is in two channels.
    """

    name: str
    channel: int
    value: int


@dataclass(frozen=True)
class Image:
    """An image: an array with its place, and what its file says beside.

    Attributes:
        array: (C, Z, Y, X) in the file's own dtype.
        geometry: where the voxels lie.
        remarks: what the reader has to say.
        segments: of a label file that names its structures; empty where the values are all there is.
        identity: what the file says of itself, by DICOM's keywords ("PatientID", "FrameOfReferenceUID",
            "SeriesInstanceUID"); empty for formats that say nothing.
    """

    array: np.ndarray
    geometry: Geometry
    remarks: tuple[Remark, ...] = ()
    segments: tuple[Segment, ...] = ()
    identity: Mapping[str, str] = field(default_factory=dict)

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
