"""Two images made ready to be registered: checked, on one scale of intensity, each on its own grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from autoseg.data.image import Image
from autoseg.errors import RegistrationError
from autoseg.tasks.registration.space import Grid, inside, sample

PERCENTILES = (0.5, 99.5)
"""What becomes 0 and 1; intensities beyond are clipped, so that single bright voxels do not set the scale."""

_COLOURS = 3
_ENOUGH = 200_000  # voxels from which percentiles are taken; more do not move them
_FACE = 0.5  # share of a plane that differs from padding where a field of view ends
_LEAST_BOX = 16


@dataclass(frozen=True)
class ImagePair:
    """A fixed and a moving image.

    Attributes:
        fixed, moving: (C, *S) float32, each channel from 0 to 1 (`PERCENTILES`).
        fixed_grid, moving_grid: where their voxels lie.
        fixed_mask, moving_mask: (*S) bool, the voxels that count; None where all do.
        canvas: the grid of the fixed image as it came, with its padding; None if `fixed_grid` is all of it.
    """

    fixed: Tensor
    moving: Tensor
    fixed_grid: Grid
    moving_grid: Grid
    fixed_mask: Tensor | None = None
    moving_mask: Tensor | None = None
    canvas: Grid | None = None

    @property
    def dimension(self) -> int:
        """D, 2 or 3."""
        return self.fixed_grid.dimension

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.fixed.device

    def to(self, device: torch.device | str) -> Self:
        """The same pair with its tensors on a device."""
        return replace(
            self,
            fixed=self.fixed.to(device),
            moving=self.moving.to(device),
            fixed_mask=None if self.fixed_mask is None else self.fixed_mask.to(device),
            moving_mask=None if self.moving_mask is None else self.moving_mask.to(device),
        )

    @property
    def whole_grid(self) -> Grid:
        """The grid of the fixed image with its padding."""
        return self.fixed_grid if self.canvas is None else self.canvas


def prepare(
    fixed: Image, moving: Image, *, fixed_mask: Image | None = None, moving_mask: Image | None = None
) -> ImagePair:
    """Checks two images and brings each channel to the scale 0..1.

    A plane picture of three channels counts as RGB and becomes one channel, `darkness`, so that pictures with
    different stains can be compared; any other image keeps its channels, whose number must agree. Padding
    (`without_padding`) is cut off: its edges are not the patient's.

    Args:
        fixed, moving: the images, on any grids.
        fixed_mask, moving_mask: non-zero where an image counts; on any grid, taken at the nearest voxel.

    Raises:
        RegistrationError: different dimensionality or numbers of channels, no usable spacing, no common field of
            view, values that are not finite, a constant image, or an empty mask.
    """
    if fixed.geometry.dimension != moving.geometry.dimension:
        raise RegistrationError(
            "the images have different dimensionality",
            got=f"fixed {fixed.geometry.dimension}D, moving {moving.geometry.dimension}D",
            expected="two planes or two volumes",
            remedy="take a slice of the volume, or register it to another volume",
        )
    whole = _grid("fixed image", fixed), _grid("moving image", moving)
    _check_overlap(*whole)
    (fixed_channels, grid), (moving_channels, moving_grid) = (
        _cut(_channels(name, image), uncut)
        for name, image, uncut in zip(("fixed image", "moving image"), (fixed, moving), whole, strict=True)
    )
    images = scaled("fixed image", fixed_channels), scaled("moving image", moving_channels)
    grids = grid, moving_grid
    if len(images[0]) != len(images[1]):
        raise RegistrationError(
            "the images have different numbers of channels",
            got=f"fixed {len(images[0])}, moving {len(images[1])}",
            remedy="choose one channel of each",
        )
    masks = _mask("fixed mask", fixed_mask, grids[0]), _mask("moving mask", moving_mask, grids[1])
    return ImagePair(*images, *grids, *masks, canvas=None if grid == whole[0] else whole[0])


def without_padding(channels: np.ndarray) -> tuple[slice, ...]:
    """The box of an image without constant padding around it.

    Padding is what equals the first voxel, from a face of the array up to a plane of which more than half differs: a
    field of view that ends there. A body that stands free in a constant background ends nowhere so, and is not cut.

    Args:
        channels: (C, *S).

    Returns:
        A slice per axis; a face behind which fewer than `_LEAST_BOX` voxels would be left is not moved.
    """
    first = channels[(slice(None), *[slice(0, 1)] * (channels.ndim - 1))]
    content = (channels != first).any(axis=0)
    box = tuple(_extent(content, axis) for axis in range(content.ndim))
    inner = content[box]
    slices = []
    for axis, part in enumerate(box):
        ends = [np.take(inner, plane, axis=axis).mean() > _FACE for plane in (0, -1)] if inner.size else [False, False]
        start, stop = part.start if ends[0] else 0, part.stop if ends[1] else content.shape[axis]
        slices.append(slice(start, stop) if stop - start >= _LEAST_BOX else slice(0, content.shape[axis]))
    return tuple(slices)


def darkness(colours: np.ndarray) -> np.ndarray:
    """Optical density of a picture: how much light all dyes together take away, whatever their colours.

    The mean over R, G and B of -log10(I / I0), I0 being the brightest percentile of the channel (the empty glass):
    by Lambert and Beer proportional to the amount of dye (Ruifrok and Johnston 2001).

    Args:
        colours: (3, ...), any unit.

    Returns:
        (1, ...) float32, 0 on glass.
    """
    light = colours.astype(np.float32)
    glass = np.percentile(light.reshape(_COLOURS, -1), 99.0, axis=1).reshape(-1, *[1] * (light.ndim - 1))
    floor = np.maximum(glass, 1e-6) / 255.0  # eight bits; a black pixel has a finite density
    return (-np.log10(np.clip(light, floor, None) / np.maximum(glass, floor))).mean(axis=0, keepdims=True)


def scaled(name: str, channels: np.ndarray) -> Tensor:
    """Channels (C, *S) as float32 on the scale of an `ImagePair`.

    Args:
        name: of the image, for errors.

    Raises:
        RegistrationError: a channel is constant.
    """
    return torch.from_numpy(np.stack([_scaled_channel(name, channel.astype(np.float32)) for channel in channels]))


def _grid(name: str, image: Image) -> Grid:
    spacing = image.geometry.spacing[3 - image.geometry.dimension :]
    if not all(np.isfinite(value) and value > 0 for value in spacing):
        raise RegistrationError(
            "the spacing is missing",
            where=name,
            got=f"{spacing} mm",
            expected="a distance above zero along each axis",
            remedy="correct the image's header",
        )
    return Grid.of(image)


def _channels(name: str, image: Image) -> np.ndarray:
    """The channels (C, *S) that are compared."""
    array = image.array[:, 0] if image.geometry.dimension == 2 else image.array
    if not np.isfinite(array).all():
        raise RegistrationError("the image has voxels without a value", where=name, got="NaN or infinity")
    return darkness(array) if image.geometry.dimension == 2 and len(array) == _COLOURS else array


def _cut(channels: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    box = without_padding(channels)
    start = torch.tensor([part.start for part in box], dtype=torch.float64)
    cut = channels[(slice(None), *box)]
    origin = tuple(grid.to_world(start).tolist())
    return cut, Grid(tuple(cut.shape[1:]), grid.matrix, origin)


def _extent(content: np.ndarray, axis: int) -> slice:
    """Where there is content along an axis."""
    others = tuple(other for other in range(content.ndim) if other != axis)
    index = np.flatnonzero(content.any(axis=others))
    return slice(int(index[0]), int(index[-1]) + 1) if len(index) else slice(0, 0)


def _scaled_channel(name: str, channel: np.ndarray) -> np.ndarray:
    values = channel.reshape(-1)
    low, high = (float(value) for value in np.percentile(values[:: max(1, len(values) // _ENOUGH)], PERCENTILES))
    if not high > low:  # almost everything is background: the few voxels that are not must do
        low, high = float(values.min()), float(values.max())
    if not high > low:
        raise RegistrationError(
            "the image is constant", where=name, got=f"{low:g} everywhere", expected="an image with contrast"
        )
    return np.clip((channel - low) / (high - low), 0.0, 1.0)


def _check_overlap(fixed: Grid, moving: Grid) -> None:
    points = fixed.points(torch.zeros((), dtype=torch.float64))
    back = moving.points(torch.zeros((), dtype=torch.float64))
    if not bool(inside(moving, points).any()) and not bool(inside(fixed, back).any()):
        raise RegistrationError(
            "the images have no common field of view",
            got=f"centres at {_millimetres(fixed.centre)} and {_millimetres(moving.centre)} mm",
            expected="images that overlap in world coordinates",
            remedy="correct origin and direction in a header, or give both images the same origin",
        )


def _mask(name: str, mask: Image | None, grid: Grid) -> Tensor | None:
    if mask is None:
        return None
    if mask.geometry.dimension != grid.dimension:
        raise RegistrationError("the mask has another dimensionality than its image", where=name)
    array = (mask.array != 0).any(axis=0)
    array = array[0] if grid.dimension == 2 else array
    source = torch.from_numpy(array[None].astype(np.float32))
    points = grid.points(torch.zeros((), dtype=torch.float64))
    on_grid = sample(source, _grid(name, mask), points, mode="nearest", outside=0.0)[0] > 0
    if not bool(on_grid.any()):
        raise RegistrationError(
            "the mask is empty on its image", where=name, expected="at least one non-zero voxel within the image"
        )
    return on_grid


def _millimetres(point: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.1f}" for value in point) + ")"
