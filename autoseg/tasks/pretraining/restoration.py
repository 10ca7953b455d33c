"""What is done to an image that a network is to restore: the four transformations of Models Genesis.

Each is a function of an array (C, *space) and a generator; it returns a new float32 array of the same shape and range
of values; places and curves are the same for all channels, so that they stay registered. The paper's images are scaled
to [0, 1]; here values keep their own scale, and the range of each channel without half a percent of outliers at each
end stands for [0, 1].

Source: Zhou et al. 2019, "Models Genesis: Generic Autodidactic Models for 3D Medical Image Analysis", MICCAI,
arXiv:1908.06912; probabilities and sizes as in its code for 3D.
"""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from autoseg.records import Record

Probability = Annotated[float, Field(ge=0, le=1)]
Extent = Annotated[float, Field(gt=0, le=1)]
Extents = tuple[Extent, Extent]
_CURVE = 1000  # points of a Bezier curve
_SAMPLED = 1 << 14  # voxels that are enough to know a range by


class Corruption(Record):
    """How often each transformation is drawn, and how strong it is.

    Attributes:
        nonlinear: chance of a monotone map of the values.
        falling: chance that the map falls, which exchanges dark and bright.
        shuffling: chance of voxels being shuffled within small windows.
        shuffled_extent: largest window along each axis, over the image.
        shuffled_passes: times that the image is tiled by windows; the paper's 10,000 windows visit a voxel about twice.
        painting: chance of in-painting or out-painting, never both.
        out_painting: chance that it is out-painting.
        boxes: of painting, at most; after each, the next comes with a chance of 0.95.
        hole_extent: range of a hole's length over the image (in-painting).
        window_extent: range of the length of what stays visible (out-painting).
    """

    nonlinear: Probability = 0.9
    falling: Probability = 0.5
    shuffling: Probability = 0.5
    shuffled_extent: Extent = 0.1
    shuffled_passes: int = Field(default=2, ge=1)
    painting: Probability = 0.9
    out_painting: Probability = 0.8
    boxes: int = Field(default=5, ge=1)
    hole_extent: Extents = (1 / 6, 1 / 3)
    window_extent: Extents = (3 / 7, 4 / 7)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("hole_extent", "window_extent"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: {low} is more than {high}")
        return self


_ANOTHER = 0.95  # chance of another box


def corrupt(image: np.ndarray, rng: np.random.Generator, how: Corruption | None = None) -> np.ndarray:
    """An image (C, *space) after the transformations that are drawn: shuffling, then values, then painting."""
    how = how or Corruption()
    result = np.array(image, dtype=np.float32)
    if rng.random() < how.shuffling:
        result = local_shuffling(result, rng, extent=how.shuffled_extent, passes=how.shuffled_passes)
    if rng.random() < how.nonlinear:
        result = nonlinear_intensity(result, rng, falling=how.falling)
    if rng.random() < how.painting:
        if rng.random() < how.out_painting:
            result = out_painting(result, rng, boxes=how.boxes, extent=how.window_extent)
        else:
            result = in_painting(result, rng, boxes=how.boxes, extent=how.hole_extent)
    return result


def nonlinear_intensity(image: np.ndarray, rng: np.random.Generator, *, falling: float = 0.5) -> np.ndarray:
    """The values through a random monotone cubic Bezier curve from corner to corner of their range.

    Its two inner control points are uniform in the square, with which both coordinates rise along the curve; with
    chance `falling` the result is mirrored, so that dark becomes bright. Outliers take the value of the curve's end; a
    constant channel stays as it is.
    """
    points = rng.random((2, 2))
    mirrored = rng.random() < falling
    t = np.linspace(0, 1, _CURVE)[:, None]
    curve = 3 * (1 - t) ** 2 * t * points[0] + 3 * (1 - t) * t**2 * points[1] + t**3
    values = 1 - curve[:, 1] if mirrored else curve[:, 1]
    result = np.array(image, dtype=np.float32)
    for channel in result:
        low, high = _range(channel)
        if high > low:
            scaled = (channel - low) / (high - low)  # np.interp holds its ends beyond them
            channel[...] = np.interp(scaled, curve[:, 0], values) * (high - low) + low
    return result


def local_shuffling(image: np.ndarray, rng: np.random.Generator, *, extent: float = 0.1, passes: int = 2) -> np.ndarray:
    """Voxels shuffled within small windows: texture goes, the outlines stay.

    In each pass the image is tiled by windows of one random size, at most `extent` of the image and at least two voxels
    along an axis (where it has two), laid at a random offset; incomplete windows at the border stay as they are. The
    paper draws 10,000 windows one by one; tiles need a tenth of the time and visit every voxel equally often.

    Args:
        image: (C, *spatial).
        rng: what is drawn from.
        extent: largest length of a window, as a share of the image's.
        passes: times that the image is tiled by windows.
    """
    space = image.shape[1:]
    voxels = np.arange(int(np.prod(space)), dtype=np.int64).reshape(space)
    for _ in range(passes):
        size = [int(rng.integers(1, max(2, round(n * extent)) + 1)) if n > 1 else 1 for n in space]
        first = [int(rng.integers(min(w, n - w + 1))) for n, w in zip(space, size, strict=True)]
        count = [(n - a) // w for n, a, w in zip(space, first, size, strict=True)]
        inside = tuple(slice(a, a + c * w) for a, c, w in zip(first, count, size, strict=True))
        split = [n for c, w in zip(count, size, strict=True) for n in (c, w)]
        axes = [*range(0, len(split), 2), *range(1, len(split), 2)]
        tiles = voxels[inside].reshape(split).transpose(axes)
        shuffled = rng.permuted(tiles.reshape(int(np.prod(count)), -1), axis=1)
        back = np.argsort(axes)
        voxels[inside] = shuffled.reshape(tiles.shape).transpose(back).reshape(voxels[inside].shape)
    flat = np.asarray(image, dtype=np.float32).reshape(len(image), -1)
    return flat[:, voxels.reshape(-1)].reshape(image.shape)


def in_painting(
    image: np.ndarray, rng: np.random.Generator, *, boxes: int = 5, extent: Extents = (1 / 6, 1 / 3)
) -> np.ndarray:
    """Up to `boxes` holes filled with uniform noise of the image's range; what surrounds them stays.

    Args:
        image: (C, *spatial).
        rng: what is drawn from.
        boxes: at most this many, at least one.
        extent: range of a box's length, as shares of the image's.
    """
    result = np.array(image, dtype=np.float32)
    for region in _boxes(rng, image.shape[1:], boxes, extent):
        result[region] = _noise(rng, image, result[region].shape)
    return result


def out_painting(
    image: np.ndarray, rng: np.random.Generator, *, boxes: int = 5, extent: Extents = (3 / 7, 4 / 7)
) -> np.ndarray:
    """All but up to `boxes` windows, which may overlap, becomes uniform noise of the image's range.

    Args:
        image: (C, *spatial).
        rng: what is drawn from.
        boxes: at most this many, at least one.
        extent: range of a box's length, as shares of the image's.
    """
    result = _noise(rng, image, image.shape)
    for region in _boxes(rng, image.shape[1:], boxes, extent):
        result[region] = image[region]
    return result


def _noise(rng: np.random.Generator, image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform noise of that shape (C, *space) in the range of each of the image's channels."""
    ranges = np.array([_range(channel) for channel in image], dtype=np.float32).reshape(-1, 2, *(1,) * (image.ndim - 1))
    low, high = ranges[:, 0], ranges[:, 1]
    return rng.random(shape, dtype=np.float32) * (high - low) + low


def _range(channel: np.ndarray) -> tuple[float, float]:
    """Lowest and highest value of a channel but for half a percent of outliers at each end, from some of its voxels."""
    some = channel.reshape(-1)[:: max(1, channel.size // _SAMPLED)]
    low, high = np.percentile(some, (0.5, 99.5))
    if high > low:
        return float(low), float(high)
    return float(channel.min()), float(channel.max())


def _boxes(rng: np.random.Generator, space: tuple[int, ...], most: int, extent: Extents) -> list[tuple[slice, ...]]:
    """One to `most` boxes anywhere in the image, as places in an array with channels."""
    regions: list[tuple[slice, ...]] = []
    while len(regions) < most and (not regions or rng.random() < _ANOTHER):
        region = [slice(None)]
        for n in space:
            length = min(n, max(1, round(n * rng.uniform(*extent))))
            start = int(rng.integers(n - length + 1))
            region.append(slice(start, start + length))
        regions.append(tuple(region))
    return regions
