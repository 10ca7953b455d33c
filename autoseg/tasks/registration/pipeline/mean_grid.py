"""The grid on which the mean of a data set is made."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import read_image
from autoseg.errors import DatasetError
from autoseg.processes import unordered
from autoseg.tasks.registration.space import Grid

_EXTENT = 90.0
"""Percentile of the cases' lengths that the grid has along each axis: a few very large ones do not blow it up."""

_PATIENCE = 2.0  # seconds of reading before other processes are started


def mean_grid(data: Dataset, workers: int) -> Grid:
    """A grid for all cases: the axes and centre of a case of middle size, median spacings, nearly the largest lengths.

    Raises:
        DatasetError: planes and volumes are mixed.
        ImageError: an image cannot be read.
    """
    grids = dict(unordered(_grid, data.training, "sizes", workers=workers, patience=_PATIENCE))
    return joint_grid([grids[case] for case in sorted(grids)], data.folder)


def joint_grid(grids: Sequence[Grid], where: object) -> Grid:
    """See `mean_grid`."""
    if len({grid.dimension for grid in grids}) > 1:
        raise DatasetError(
            "planes and volumes are mixed", where=where, expected="images of one dimensionality", remedy="divide them"
        )
    middle = sorted(grids, key=lambda grid: grid.diagonal)[len(grids) // 2]
    axes = np.asarray(middle.matrix) / np.asarray(middle.spacing)
    spacing = np.median([_spacing(grid, axes) for grid in grids], axis=0)
    lengths = np.percentile([_lengths(grid, axes) for grid in grids], _EXTENT, axis=0)
    shape = np.maximum(1, np.ceil(lengths / spacing - 1e-6)).astype(int)
    matrix = axes * spacing
    origin = np.asarray(middle.centre) - matrix @ ((shape - 1) / 2)
    return Grid(
        shape=tuple(int(length) for length in shape),
        matrix=tuple(tuple(float(value) for value in row) for row in matrix),
        origin=tuple(float(value) for value in origin),
    )


def _grid(case: Case) -> tuple[str, Grid]:
    return case.id, Grid.of(read_image(case.images[0]))


def _spacing(grid: Grid, axes: np.ndarray) -> np.ndarray:
    """Spacing of a grid along other axes: that of its own axis which is nearest to each."""
    own = np.asarray(grid.matrix) / np.asarray(grid.spacing)
    return np.asarray(grid.spacing)[np.abs(axes.T @ own).argmax(axis=1)]


def _lengths(grid: Grid, axes: np.ndarray) -> np.ndarray:
    """Lengths in mm of the field of view along other axes."""
    half = np.asarray(grid.shape) / 2
    corners = [np.asarray(grid.matrix) @ (half * signs) for signs in product((-1, 1), repeat=grid.dimension)]
    along: np.ndarray = np.abs(np.array(corners) @ axes).max(axis=0)
    return 2 * along
