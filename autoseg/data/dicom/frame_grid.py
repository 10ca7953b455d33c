"""The grid that the frames of a multi-frame object lie on, sorted along their normal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.data.image import Geometry, Image, Vector
from autoseg.errors import ImageError

if TYPE_CHECKING:
    from pydicom import Dataset

_ANGLE = 1e-3  # of a direction cosine: what rounding in headers can make
_SHIFT = 0.1  # of a voxel: what rounding of places can make
_MOST_SLICES = 20_000  # more are a damaged header


@dataclass(frozen=True)
class FrameGrid:
    """A grid of voxels and the slice of each frame.

    Attributes:
        geometry: of the grid.
        shape: (Z, Y, X).
        slices: index of the slice that each frame lies in; a slice may have several frames or none.
    """

    geometry: Geometry
    shape: tuple[int, int, int]
    slices: tuple[int, ...]


def functional_group(dataset: Any, frame: int, keyword: str) -> Any | None:
    """The item of a functional group of a frame, its own or that of all frames; None if there is none."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    for groups in (*own[frame : frame + 1], *(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]):
        if sequence := groups.get(keyword):
            return sequence[0]
    return None


def frame_grid(dataset: Dataset, path: Path, image: Image | None) -> FrameGrid:
    """The grid of a multi-frame object, by orientation, position and pixel spacing of its functional groups.

    The distance of slices is that of the image, if one is given, else `SpacingBetweenSlices`, if the frames lie at
    multiples of it; else the smallest distance of two frames.

    Raises:
        ImageError: no frames, no orientation, position or pixel spacing, frames that are not parallel, that do not lie
            above each other or not at equal distances.
    """
    count = int(dataset.get("NumberOfFrames") or 1)
    axes, spacing = _planes(dataset, count, path)
    positions = np.asarray([_place(dataset, frame, path) for frame in range(count)])
    normal = np.cross(axes[0], axes[1])
    levels = positions @ normal
    beside = (positions - positions[0]) @ axes.T / spacing[::-1]
    if np.abs(beside).max() > _SHIFT:
        raise _uneven(path, f"frames shifted by up to {np.abs(beside).max():.2f} pixels", "frames above each other")
    measures = functional_group(dataset, 0, "PixelMeasuresSequence")
    thickness = abs(float((measures and measures.get("SliceThickness")) or 1.0))
    step, slices = _stacked(levels, _distances(dataset, image, normal), thickness, path)
    directions = np.stack([normal, axes[1], axes[0]])[:, ::-1].T
    geometry = Geometry(
        spacing=_vector([step, *spacing]),
        origin=_vector(positions[int(levels.argmin())][::-1]),
        direction=(_vector(directions[0]), _vector(directions[1]), _vector(directions[2])),
    )
    shape = (max(slices) + 1, int(dataset.Rows), int(dataset.Columns))
    return FrameGrid(geometry, shape, slices)


def _planes(dataset: Dataset, count: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Directions (2, 3) of a row and of a column of all frames, of length 1, and their pixel spacing (y, x)."""
    found = []
    for frame in range(count):
        orientation = functional_group(dataset, frame, "PlaneOrientationSequence")
        measures = functional_group(dataset, frame, "PixelMeasuresSequence")
        if orientation is None or measures is None or len(measures.get("PixelSpacing") or ()) != 2:
            raise _uneven(path, f"frame {frame + 1} without orientation or pixel spacing", "both for all frames")
        numbers = [*orientation.ImageOrientationPatient, *measures.PixelSpacing]
        found.append([float(number) for number in numbers])
    planes = np.asarray(found).reshape(count, 8)
    if not np.isfinite(planes).all() or (planes[:, 6:] <= 0).any():
        raise _uneven(path, "orientations or pixel spacings that are no such numbers", "positive spacings in mm")
    if np.abs(planes[:, :6] - planes[0, :6]).max() > _ANGLE or not np.allclose(planes[:, 6:], planes[0, 6:], rtol=1e-3):
        raise _uneven(path, "frames with several orientations or pixel spacings", "parallel frames of one kind")
    axes = planes[0, :6].reshape(2, 3)
    if np.abs(axes @ axes.T - np.eye(2)).max() > 10 * _ANGLE:
        raise _uneven(path, f"orientation {planes[0, :6].tolist()}", "two perpendicular directions of length 1")
    return axes / np.linalg.norm(axes, axis=1, keepdims=True), planes[0, 6:]


def _place(dataset: Dataset, frame: int, path: Path) -> list[float]:
    item = functional_group(dataset, frame, "PlanePositionSequence")
    place = [] if item is None else [float(number) for number in item.get("ImagePositionPatient") or ()]
    if len(place) != 3 or not np.isfinite(place).all():
        raise _uneven(path, f"frame {frame + 1} without a position in the patient", "a position for each frame")
    return place


def _distances(dataset: Dataset, image: Image | None, normal: np.ndarray) -> list[float]:
    """Distances that neighbouring slices may have, the likeliest first."""
    found = []
    if image is not None and image.geometry.dimension == 3:
        along = np.abs(normal[::-1] @ np.asarray(image.geometry.direction))
        if along.max() > 1 - _ANGLE:
            found.append(image.geometry.spacing[int(along.argmax())])
    measures = functional_group(dataset, 0, "PixelMeasuresSequence")
    stated = None if measures is None else measures.get("SpacingBetweenSlices")
    return [*found, abs(float(stated))] if stated else found


def _stacked(levels: np.ndarray, distances: list[float], thickness: float, path: Path) -> tuple[float, tuple[int, ...]]:
    """The distance of neighbouring slices and the slice of each level, from 0 on."""
    heights = levels - levels.min()
    planes = np.sort(heights)
    gaps = np.diff(planes)
    gaps = gaps[gaps > 1e-3]
    if not len(gaps):
        return (distances or [thickness])[0], (0,) * len(levels)
    smallest = float(gaps.min())
    smallest = float(planes[-1]) / max(round(float(planes[-1]) / smallest), 1)
    fitting = [step for step in (*distances, smallest) if step > 0 and _fits(heights, step)]
    if not fitting:
        told = ", ".join(f"{gap:.4g}" for gap in np.unique(gaps.round(3))[:5])
        raise _uneven(path, f"distances of {told} mm", "planes at multiples of one distance")
    step = fitting[0]
    if heights.max() / step > _MOST_SLICES:
        raise _uneven(path, f"{heights.max():.6g} mm from the first to the last frame", "planes of one image")
    return step, tuple(int(index) for index in np.rint(heights / step))


def _fits(heights: np.ndarray, step: float) -> bool:
    indices = heights / step
    return bool(np.abs(indices - np.rint(indices)).max() <= _SHIFT)


def _uneven(path: Path, got: str, expected: str) -> ImageError:
    return ImageError(
        "the frames do not make up a volume",
        where=path,
        got=got,
        expected=expected,
        remedy="export it anew, or convert it to NIfTI",
    )


def _vector(values: Any) -> Vector:
    z, y, x = (float(value) for value in values)
    return z, y, x
