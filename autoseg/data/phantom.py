"""A synthetic data set with the difficulties of real scans, each behind a switch: for the demo and for tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from autoseg.data.files import write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.records import Record, write_json

CLASSES = ("organ", "lesion", "vessel")

_THICKNESS = 2.5  # slice thickness over pixel size where anisotropic
_SUPERSAMPLING = 2  # points per voxel and axis over which partial volume averages
_BODY = 400.0  # intensity of the surrounding tissue, in arbitrary units as in MR
_NOISE = 16.0  # standard deviation in each of the two parts of the complex MR signal
_BIAS = 0.12  # standard deviation of the logarithm of the multiplicative field
_LOW_CONTRAST = 0.6  # share of the contrast to the body that is left
_WAVES = 3  # waves per axis in random smooth fields

# What a point belongs to, with its intensity. Two structures without label look like labelled ones, so that no
# threshold separates the classes.
_AIR, _TISSUE, _ORGAN, _LESION, _VESSEL, _COLUMN, _NODE = range(7)
_INTENSITY = np.array([0.0, _BODY, 560.0, 470.0, 700.0, 560.0, 700.0])
_LABEL = np.array([0, 0, 1, 2, 3, 0, 0], np.uint8)


class PhantomOptions(Record):
    """What the phantom is like.

    Attributes:
        cases: labelled cases.
        dimension: 3 writes NIfTI volumes, 2 writes 16-bit PNG pictures of the middle plane.
        shape: field of view in voxels of the isotropic grid (z, y, x).
        spacing: mm per voxel of that grid; a picture has none.
        classes: labels kept, of organ (lobed), lesion (nested in the organ) and vessel (a thin tube).
        seed: the same options give the same files, bit for bit.
        partial_volume: voxels average over their volume; else they sample their centre.
        noise: Rician noise.
        inhomogeneity: a smooth multiplicative field over the intensities.
        anisotropic: slices 2.5 times as thick, and accordingly fewer; without effect in 2D.
        varied_shapes: every case has its own anatomy and field of view; else all share one.
        low_contrast: only 0.6 of the contrast to the surrounding tissue.
    """

    cases: int = Field(default=14, ge=1)
    dimension: Literal[2, 3] = 3
    shape: tuple[int, int, int] = (60, 60, 60)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    classes: int = Field(default=3, ge=1, le=len(CLASSES))
    seed: int = Field(default=0, ge=0)
    partial_volume: bool = True
    noise: bool = True
    inhomogeneity: bool = True
    anisotropic: bool = True
    varied_shapes: bool = True
    low_contrast: bool = True


@dataclass(frozen=True)
class _Grid:
    """Sample points of one case: voxels per axis, and points per voxel and axis."""

    shape: tuple[int, int, int]
    points: tuple[int, int, int]

    def axes(self) -> list[np.ndarray]:
        """Coordinates from -1 to 1 per axis, shaped to broadcast to (Z, Y, X)."""
        lengths = [voxels * points for voxels, points in zip(self.shape, self.points, strict=True)]
        lines = [((2 * np.arange(length) + 1) / length - 1).astype(np.float32) for length in lengths]
        return [line.reshape([-1 if i == axis else 1 for i in range(3)]) for axis, line in enumerate(lines)]

    def average(self, values: np.ndarray) -> np.ndarray:
        """Means over the points of each voxel."""
        (z, y, x), (p, q, r) = self.shape, self.points
        return values.reshape(z, p, y, q, x, r).mean(axis=(1, 3, 5))


def write_phantom(folder: str | Path, options: PhantomOptions) -> Path:
    """Writes the data set in nnU-Net v2's raw layout (dataset.json, imagesTr, labelsTr) and returns its folder.

    Files that are there already are replaced.
    """
    folder = Path(folder)
    ending = ".nii.gz" if options.dimension == 3 else ".png"
    for case in range(options.cases):
        image, labels = make_case(case, options)
        name = f"phantom_{case:03d}"
        write_image(folder / "imagesTr" / f"{name}_0000{ending}", image)
        write_labels(folder / "labelsTr" / f"{name}{ending}", labels, image.geometry)
    names = {"background": 0} | {name: value + 1 for value, name in enumerate(CLASSES[: options.classes])}
    description = {
        "name": "Phantom",
        "channel_names": {"0": "MR"},
        "labels": names,
        "numTraining": options.cases,
        "file_ending": ending,
    }
    write_json(folder / "dataset.json", description)
    return folder


def make_case(case: int, options: PhantomOptions) -> tuple[Image, np.ndarray]:
    """One case: an image of uint16 voxels, (1, Z, Y, X), and its labels, uint8 (Z, Y, X)."""
    anatomy = _generator(options, case if options.varied_shapes else 0, stream=0)
    measurement = _generator(options, case, stream=1)
    grid, spacing = _field_of_view(anatomy, options)
    tissue = _tissues(anatomy, grid, options)
    labels = np.where(options.classes < _LABEL, 0, _LABEL)[tissue]
    signal = grid.average(_intensities(options)[tissue])
    signal = _measure(measurement, signal, options)
    array = np.clip(np.rint(signal), 0, 65535).astype(np.uint16)
    geometry = Geometry(spacing=spacing) if options.dimension == 3 else Geometry.plane()
    return Image(array[None], geometry), _majority(labels, grid, options.classes)


def _generator(options: PhantomOptions, case: int, *, stream: int) -> np.random.Generator:
    return np.random.default_rng((options.seed, stream, case))


def _field_of_view(rng: np.random.Generator, options: PhantomOptions) -> tuple[_Grid, tuple[float, float, float]]:
    """Grid and spacing; with varied shapes up to a tenth more or fewer voxels per axis."""
    factors = rng.uniform(0.9, 1.1, size=3) if options.varied_shapes else np.ones(3)
    z, y, x = (max(8, round(length * factor)) for length, factor in zip(options.shape, factors, strict=True))
    points = _SUPERSAMPLING if options.partial_volume else 1
    thickness = _THICKNESS if options.anisotropic else 1.0
    spacing = (options.spacing[0] * thickness, options.spacing[1], options.spacing[2])
    if options.dimension == 2:
        return _Grid((1, y, x), (1, points, points)), spacing
    return _Grid((max(4, round(z / thickness)), y, x), (points, points, points)), spacing


def _tissues(rng: np.random.Generator, grid: _Grid, options: PhantomOptions) -> np.ndarray:
    """What lies at each point, painted from the outside inwards. Coordinates are fractions of the field of view."""
    axes = grid.axes()
    if options.varied_shapes:
        moved = [axis + 0.05 * _smooth_field(rng, grid) for axis in axes]
        moved = _turned(moved, rng.uniform(-0.2, 0.2), rng.uniform(0.9, 1.1, size=3))
    else:
        moved = [np.broadcast_to(axis, np.broadcast_shapes(*(a.shape for a in axes))) for axis in axes]
    z, y, x = moved
    jitter = 1.0 if options.varied_shapes else 0.0

    def near(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        (cz, cy, cx), (rz, ry, rx) = centre, radii
        return np.asarray(((z - cz) / rz) ** 2 + ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1)

    def about(value: float, spread: float) -> float:
        return value + jitter * float(rng.uniform(-spread, spread))

    tissue = np.full(z.shape, _AIR, np.uint8)
    tissue[near((0.0, 0.0, 0.0), (0.95, 0.82, 0.9))] = _TISSUE
    tissue[near((0.0, about(0.6, 0.03), 0.0), (0.9, about(0.15, 0.02), about(0.15, 0.02)))] = _COLUMN
    tissue[near((about(0.0, 0.2), about(-0.5, 0.06), about(0.38, 0.06)), (0.3, 0.12, 0.12))] = _NODE
    y0, x0, size = about(-0.05, 0.06), about(-0.38, 0.05), about(1.3, 0.15)
    lobes = [
        ((0.0, 0.0, 0.0), (0.55, 0.32, 0.24)),
        ((0.1, -0.22, 0.16), (0.4, 0.2, 0.22)),
        ((-0.1, 0.2, 0.14), (0.4, 0.2, 0.2)),
    ]
    organ = np.zeros(z.shape, bool)
    for (cz, cy, cx), (rz, ry, rx) in lobes:
        organ |= near((about(cz, 0.05), y0 + cy, x0 + cx), (rz * size, ry * size, about(rx, 0.03) * size))
    tissue[organ] = _ORGAN
    lesion = near(
        (about(0.0, 0.12), y0 + about(0.0, 0.12), x0 + about(0.04, 0.06)), (about(0.45, 0.06), about(0.25, 0.03), 0.24)
    )
    tissue[lesion & organ] = _LESION
    phase, bend = about(0.0, 1.5), about(0.1, 0.05)
    sway = 0.0 if options.dimension == 2 else 0.15
    centre_x = 0.3 + bend * np.sin(3 * y + phase)
    centre_z = sway * np.sin(2 * y + phase)
    radius = about(0.15, 0.01)
    # The radius is in fractions of the in-plane field of view, so the tube is nearly round in mm.
    vessel = (x - centre_x) ** 2 + (z - centre_z) ** 2 < radius**2
    tissue[vessel & (tissue == _TISSUE) & (np.abs(y) < 0.6)] = _VESSEL
    return tissue


def _turned(axes: list[np.ndarray], angle: float, scale: np.ndarray) -> list[np.ndarray]:
    """In-plane rotation by `angle` radians, then scaling of each axis."""
    z, y, x = axes
    cosine, sine = np.cos(angle), np.sin(angle)
    return [z * scale[0], (cosine * y - sine * x) * scale[1], (sine * y + cosine * x) * scale[2]]


def _smooth_field(rng: np.random.Generator, grid: _Grid) -> np.ndarray:
    """A random sum of low cosine waves over the points of the grid, (Z, Y, X), about zero with variance near 1."""
    waves = np.arange(_WAVES)
    coefficients = rng.normal(size=(_WAVES,) * 3)
    coefficients[0, 0, 0] = 0.0
    z, y, x = (np.cos(np.pi * np.outer(axis.ravel() + 1, waves) / 2) for axis in grid.axes())
    # The mean square of all waves at once is (1 + (waves - 1) / 2) per axis.
    coefficients /= ((1 + _WAVES) / 2) ** 1.5
    return np.einsum("abc,za,yb,xc->zyx", coefficients, z, y, x, optimize=True).astype(np.float32)


def _intensities(options: PhantomOptions) -> np.ndarray:
    contrast = _LOW_CONTRAST if options.low_contrast else 1.0
    return np.where(_INTENSITY == 0, 0.0, _BODY + contrast * (_INTENSITY - _BODY))


def _measure(rng: np.random.Generator, signal: np.ndarray, options: PhantomOptions) -> np.ndarray:
    """The scanner: a smooth gain, then Rician noise (Gudbjartsson and Patz, 1995, equation 1)."""
    if options.inhomogeneity:
        signal = signal * np.exp(_BIAS * _smooth_field(rng, _Grid(signal.shape, (1, 1, 1))))  # type: ignore[arg-type]
    if options.noise:
        real, imaginary = rng.normal(scale=_NOISE, size=(2, *signal.shape))
        signal = np.hypot(signal + real, imaginary)
    return signal


def _majority(labels: np.ndarray, grid: _Grid, classes: int) -> np.ndarray:
    """The label with the largest share of each voxel."""
    if grid.points == (1, 1, 1):
        return labels
    shares = np.stack([grid.average(labels == value) for value in range(classes + 1)])
    return shares.argmax(axis=0).astype(np.uint8)
