"""Pictures of a registration: checkerboard, differences before and after, deformed grid, map of the Jacobian."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from skimage.measure import find_contours

from autoseg.data.image import Geometry
from autoseg.report.slices import SliceView, telling_slice, turn
from autoseg.training.curves import INK, MUTED, SERIES

FIXED, WARPED = "#4cc3ff", "#ff9d2e"
"""Outlines of the labels of either image, as in other overlays."""

TITLES = ("fixed", "difference before", "difference after", "checkerboard", "deformed grid", "Jacobian determinant")

_TILES = 8  # of a checkerboard along the longer side
_LINES = 24  # of the deformed grid along the longer side
_POINTS = 200  # at most along a line
_LEAST_RANGE = 0.25  # of log2 of the determinant, so that noise in a rigid result does not look like much
_FOLDED, _UNKNOWN = "#d6004f", "#c9ced6"


@dataclass(frozen=True)
class RegistrationView:
    """What is drawn, all on the fixed image's voxels.

    Attributes:
        fixed, before, after: (Z, Y, X), intensities from 0 to 1: the fixed image, and the moving one as its header
            places it and as it was registered; NaN where it does not reach.
        steps: (3, Z, Y, X), displacement along each array axis, in voxels; zeros along Z for a plane.
        determinants: (Z, Y, X), of the Jacobian.
        geometry: of the fixed image.
        fixed_labels, warped_labels: (Z, Y, X), or None.
    """

    fixed: np.ndarray
    before: np.ndarray
    after: np.ndarray
    steps: np.ndarray
    determinants: np.ndarray
    geometry: Geometry
    fixed_labels: np.ndarray | None = None
    warped_labels: np.ndarray | None = None


@dataclass(frozen=True)
class _Slice:
    """One slice of everything, with the length in mm of a pixel's sides (rows, columns)."""

    fixed: np.ndarray
    before: np.ndarray
    after: np.ndarray
    determinants: np.ndarray
    rows: np.ndarray  # displacement along rows and columns, in pixels
    columns: np.ndarray
    labels: tuple[np.ndarray, np.ndarray] | None
    spacing: tuple[float, float]
    name: str

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in mm."""
        height, width = self.fixed.shape
        return 0.0, width * self.spacing[1], height * self.spacing[0], 0.0


def registration_picture(view: RegistrationView) -> bytes:
    """A PNG of one slice of a plane, or of one slice across each axis of a volume.

    The slices are those where the labels differ most after registration, else the middle ones.
    """
    slices = _slices(view)
    rows, columns = (2, 3) if len(slices) == 1 else (len(slices), len(TITLES))
    tallest = [_height(plane) for plane in slices]
    width = 4.2 if len(slices) == 1 else 2.5
    heights = tallest * 2 if len(slices) == 1 else tallest
    figure = Figure(figsize=(width * columns + 0.9, width * sum(heights) + 0.45 * rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    panels = np.atleast_2d(figure.subplots(rows, columns, gridspec_kw={"height_ratios": heights}))
    limit = _jacobian_limit(view.determinants)
    for number, plane in enumerate(slices):
        row = panels.ravel() if len(slices) == 1 else panels[number]
        _row(row, plane, limit, titles=number == 0)
    _jacobian_scale(figure, panels, limit)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, facecolor="white")
    return content.getvalue()


def checkerboard(first: np.ndarray, second: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Two pictures (Y, X) in turn, in squares of an eighth of the longer side in mm; the first one top left."""
    side = max(length * step for length, step in zip(first.shape, spacing, strict=True)) / _TILES
    rows, columns = (
        np.floor((np.arange(length) + 0.5) * step / side).astype(int)
        for length, step in zip(first.shape, spacing, strict=True)
    )
    return np.where((rows[:, None] + columns) % 2 == 0, first, second)


def _row(row: np.ndarray, plane: _Slice, limit: float, *, titles: bool) -> None:
    """The panels of one slice.

    Args:
        row: axes of the panels.
        plane: the slice.
        limit: of the colours of the Jacobian.
        titles: whether the panels are named.
    """
    fixed, before, after, board, grid, jacobian = row
    _image(fixed, plane.fixed, plane)
    _outlines(fixed, plane)
    _image(board, checkerboard(plane.fixed, plane.after, plane.spacing), plane)
    for axes, moving in ((before, plane.before), (after, plane.after)):
        _image(axes, moving - plane.fixed, plane, cmap="RdBu_r", vmin=-1, vmax=1)
    _grid(grid, plane)
    _jacobian(jacobian, plane, limit)
    if plane.name:
        fixed.set_ylabel(plane.name, color=MUTED, fontsize=9)
    if titles:
        for axes, title in zip(row, TITLES, strict=True):
            axes.set_title(title, loc="left", fontsize=9.5, color=INK, pad=5)


def _image(axes: Axes, values: np.ndarray, plane: _Slice, **style: Any) -> None:
    settings: dict[str, Any] = {"vmin": 0, "vmax": 1, "interpolation": "nearest", **style}
    colours = colormaps[settings.pop("cmap", "gray")].with_extremes(bad=_UNKNOWN)
    axes.imshow(np.ma.masked_invalid(values), extent=plane.extent, cmap=colours, **settings)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _outlines(axes: Axes, plane: _Slice) -> None:
    if plane.labels is None:
        return
    for labels, colour in zip(plane.labels, (FIXED, WARPED), strict=True):
        for value in np.unique(labels[labels > 0]):
            for outline in find_contours(np.pad(labels == value, 1).astype(float), 0.5):
                rows, columns = ((outline - 0.5) * plane.spacing).T
                axes.plot(columns, rows, color=colour, linewidth=1.1)
    axes.set_xlim(plane.extent[:2])
    axes.set_ylim(plane.extent[2:])
    axes.set_xlabel("outlines: blue fixed, orange warped", fontsize=7.5, color=MUTED)


def _grid(axes: Axes, plane: _Slice) -> None:
    """Where the lines of a regular grid of the fixed image come to lie in the moving one, its shift left out."""
    height, width = plane.fixed.shape
    y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    rows = (y + plane.rows - plane.rows.mean()) * plane.spacing[0]
    columns = (x + plane.columns - plane.columns.mean()) * plane.spacing[1]
    points = np.stack((columns, rows), axis=-1)
    step = max(height * plane.spacing[0], width * plane.spacing[1]) / _LINES
    across, along = (max(1, round(step / spacing)) for spacing in plane.spacing)
    finer = max(1, max(height, width) // _POINTS)
    lines = [*points[across // 2 :: across, ::finer], *points[::finer, along // 2 :: along].swapaxes(0, 1)]
    axes.add_collection(LineCollection([line for line in lines if len(line) > 1], colors=SERIES[0], linewidths=0.7))
    axes.set_aspect("equal")
    left, right, bottom, top = plane.extent
    axes.set_xlim(min(left, columns.min()), max(right, columns.max()))
    axes.set_ylim(max(bottom, rows.max()), min(top, rows.min()))
    axes.set_axis_off()


def _jacobian(axes: Axes, plane: _Slice, limit: float) -> None:
    """Binary logarithm of the determinant, folded voxels in a colour of their own."""
    folded = ~(plane.determinants > 0)
    values = np.log2(np.where(folded, 1.0, plane.determinants))
    _image(axes, values, plane, cmap="PuOr", vmin=-limit, vmax=limit)
    if folded.any():
        marked = np.ma.masked_where(~folded, folded.astype(float))
        axes.imshow(marked, extent=plane.extent, cmap=ListedColormap([_FOLDED]), interpolation="nearest")


def _jacobian_limit(determinants: np.ndarray) -> float:
    positive = determinants[determinants > 0]
    spread = float(np.percentile(np.abs(np.log2(positive)), 99)) if positive.size else 0.0
    return max(_LEAST_RANGE, spread)


def _jacobian_scale(figure: Figure, panels: np.ndarray, limit: float) -> None:
    last = panels.ravel()[-1]
    ticks = np.array([-limit, 0.0, limit])
    bar = figure.colorbar(last.images[0], ax=panels[:, -1].tolist(), fraction=0.06, ticks=ticks)
    bar.set_ticklabels([f"{2**tick:.2f}" for tick in ticks])
    bar.ax.tick_params(labelsize=8, colors=MUTED)
    bar.set_label("volume after : before; red: folded", fontsize=8, color=MUTED)


def _slices(view: RegistrationView) -> list[_Slice]:
    labels = None
    if view.fixed_labels is not None and view.warped_labels is not None:
        labels = view.fixed_labels, view.warped_labels
    none = np.zeros(view.fixed.shape, np.uint8)
    reference, warped = labels or (none, none)
    # one by one: turning makes no copy, stacking large volumes would
    volumes = (view.fixed, view.before, view.after, view.determinants, *view.steps)
    turned = [turn(volume[None], reference, warped, view.geometry) for volume in volumes]
    axes = (0,) if view.geometry.dimension == 2 else (0, 1, 2)
    return [_slice(turned, axis, with_labels=labels is not None) for axis in axes]


def _slice(views: Sequence[SliceView], axis: int, *, with_labels: bool) -> _Slice:
    view = views[0]
    index, _ = telling_slice(view.reference, view.prediction, axis)
    fixed, before, after, determinants, *steps = (np.take(volume.image[0], index, axis) for volume in views)
    row, column = (other for other in range(3) if other != axis)
    labels = tuple(np.take(array, index, axis) for array in (view.reference, view.prediction))
    # an axis that was turned has its own displacements, and against it they are negative
    signed = [steps[view.order[side]] * (-1 if view.flipped[side] else 1) for side in (row, column)]
    plane = view.planes[axis]
    return _Slice(
        fixed=fixed,
        before=before,
        after=after,
        determinants=determinants,
        rows=signed[0],
        columns=signed[1],
        labels=(labels[0], labels[1]) if with_labels else None,
        spacing=(view.spacing[row], view.spacing[column]),
        name="" if plane == "plane" else plane,
    )


def _height(plane: _Slice) -> float:
    """Height over width of a panel, within what can be looked at."""
    _, width, height, _ = plane.extent
    return float(np.clip(height / width, 0.35, 2.0))
