"""The draws that methods share: one view, two views of one place, several crops of two sizes, a grid with a crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autoseg.tasks.pretraining.batch import DrawnExample
from autoseg.tasks.pretraining.cutting import region_of
from autoseg.tasks.pretraining.presets import ViewPreset
from autoseg.tasks.pretraining.views import (
    Crop,
    Frame,
    Shape,
    View,
    around,
    draw_crop,
    draw_pair,
    draw_view,
    overlap,
    plain_view,
    whole,
)

FULL_SIZE = (1.0, 1.0)


def drawn(
    rng: np.random.Generator, views: Sequence[View], extra: Mapping[str, np.ndarray] | None = None
) -> DrawnExample:
    """An example of these views, with a seed of its own."""
    return DrawnExample(region_of(views), tuple(views), dict(extra or {}), int(rng.integers(2**63)))


def one_view(
    rng: np.random.Generator,
    shape: Shape,
    frame: Frame,
    preset: ViewPreset,
    channels: int,
    *,
    pose: bool = True,
    full_size: bool = False,
) -> View:
    """A view whose values stay as they are: what is to be restored or predicted.

    Args:
        shape: of the image.
        frame: the view's grid.
        preset: its range of scales, rotations and mirror axes.
        channels: of the image.
        pose: whether it may be turned and mirrored.
        full_size: voxels of the view are voxels of the image.
    """
    crop = draw_crop(rng, whole(shape), frame, FULL_SIZE if full_size else preset.scale)
    return draw_view(rng, crop, frame, preset, channels, pose=pose, values=False)


def two_views(
    rng: np.random.Generator, shape: Shape, frame: Frame, preset: ViewPreset, channels: int
) -> tuple[View, View]:
    """Two views that show the same thing, as different as the preset allows.

    Args:
        rng: what is drawn from.
        shape: of the image, voxels per axis.
        frame: grid of the views.
        preset: how the two may differ.
        channels: of the image.
    """
    crops = draw_pair(rng, whole(shape), frame, preset.scale, preset.least_overlap)
    first, second = (draw_view(rng, crop, frame, preset, channels) for crop in crops)
    return first, second


def multi_crop(
    rng: np.random.Generator,
    shape: Shape,
    frames: tuple[Frame, Frame],
    preset: ViewPreset,
    channels: int,
    locals_: int,
) -> tuple[View, ...]:
    """Two views on the first frame that overlap, then `locals_` small ones on the second, each within one of these.

    Small views are scaled by the preset's range too, but never beyond the crop that holds them.

    Args:
        rng: what is drawn from.
        shape: of the image, voxels per axis.
        frames: grids of the large and of the small views.
        preset: how the views may differ.
        channels: of the image.
        locals_: number of small views.

    Source: Caron et al. 2020 (SwAV), arXiv:2006.09882, section 3.3.
    """
    large, small = frames
    crops = draw_pair(rng, whole(shape), large, preset.scale, preset.least_overlap)
    views = [draw_view(rng, crop, large, preset, channels) for crop in crops]
    for _ in range(locals_):
        holder = crops[int(rng.integers(2))]
        crop = draw_crop(rng, holder, small, preset.scale)
        size = tuple(min(n, m) for n, m in zip(crop.size, holder.size, strict=True))
        start = tuple(max(a, b) for a, b in zip(crop.start, holder.start, strict=True))
        views.append(draw_view(rng, Crop(start, size), small, preset, channels))
    return tuple(views)


def base_grid(region: Crop, counts: Sequence[int]) -> tuple[Crop, ...]:
    """A box cut into crops of one size, `counts` along each axis, in C order; what does not divide is left over."""
    size = tuple(n // count for n, count in zip(region.size, counts, strict=True))
    return tuple(
        Crop(tuple(first + i * n for first, i, n in zip(region.start, cell, size, strict=True)), size)
        for cell in np.ndindex(*counts)
    )


def overlap_shares(crop: Crop, bases: Sequence[Crop]) -> np.ndarray:
    """The share of a crop that lies in each base, float32; they add up to 1 where the bases tile what holds it."""
    return np.array([overlap(crop, base) / crop.voxels for base in bases], dtype=np.float32)


def grid_and_crop(
    rng: np.random.Generator,
    shape: Shape,
    frame: Frame,
    small: Shape,
    counts: Sequence[int],
    preset: ViewPreset,
    channels: int,
) -> tuple[tuple[View, ...], np.ndarray]:
    """The views of a grid of base crops, then that of a crop anywhere among them, and the crop's shares in the bases.

    The grid covers a full-size patch, or the image along axes where that is smaller; crops are shown on the grid
    `small`. Nothing is turned or mirrored, which would take the positions away.

    Args:
        rng: what is drawn from.
        shape: of the image, voxels per axis.
        frame: grid of a full-size patch.
        small: voxels per axis of each view.
        counts: base crops per axis.
        preset: how the values of the views may differ.
        channels: of the image.
    """
    room = tuple(max(count, min(n, m)) for n, m, count in zip(frame.size, shape, counts, strict=True))
    bases = base_grid(draw_crop(rng, whole(shape), Frame(room, frame.spacing), FULL_SIZE), counts)
    covered = around(bases)
    start = tuple(
        int(rng.integers(first, first + n - m + 1))
        for first, n, m in zip(covered.start, covered.size, bases[0].size, strict=True)
    )
    crop = Crop(start, bases[0].size)
    view_frame = Frame(small, frame.spacing)
    views = [draw_view(rng, base, view_frame, preset, channels, pose=False) for base in (*bases, crop)]
    return tuple(views), overlap_shares(crop, bases)


def turned_view(rng: np.random.Generator, shape: Shape, size: Shape, frame: Frame) -> View:
    """A view at full size, as it lies, for a method that turns it by right angles itself.

    Args:
        rng: what is drawn from.
        shape: of the image, voxels per axis.
        size: of the view, voxels per axis.
        frame: mm between the voxels of the view.
    """
    return plain_view(draw_crop(rng, whole(shape), Frame(size, frame.spacing), FULL_SIZE), size)
