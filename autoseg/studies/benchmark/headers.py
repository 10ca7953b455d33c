"""Shape, spacing and channels of an image file, read from its header where that is enough."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoseg.data import itk
from autoseg.data.files import ending_of
from autoseg.data.image import Geometry
from autoseg.studies.benchmark.files import Layout
from autoseg.studies.benchmark.reading import read_source_image


@dataclass(frozen=True)
class Look:
    """What an image is like, without its voxels.

    Attributes:
        shape: (Z, Y, X).
        channels: of this file.
        geometry: where its voxels lie.
    """

    shape: tuple[int, ...]
    channels: int
    geometry: Geometry


def look_at(path: Path, page: int | None, layout: Layout) -> Look:
    """What an image of a challenge is like, as the data set has it; only formats other than NIfTI are read whole.

    Raises:
        ImageError: the header (or the file) cannot be read.
    """
    if layout.as_they_are and ending_of(path) in (".nii", ".nii.gz"):
        header = itk.read_nifti_header(path)
        space = tuple(reversed(header.size[:3]))  # ITK has x first
        fourth = header.size[3] if len(header.size) > 3 else 1
        return Look((1,) * (3 - len(space)) + space, header.components * fourth, header.geometry)
    image = read_source_image(path, page, layout)
    return Look(image.shape, len(image.array), image.geometry)
