"""Polygons on voxels, against matplotlib's test of points in paths, areas and symmetries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as MatplotlibPath
from skimage.measure import grid_points_in_poly

from autoseg.data.dicom import contour_overlap

SHAPE = (24, 30)


def fill(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    return contour_overlap.fill(polygons, shape).inside


def disc(radius: float, centre: tuple[float, float], corners: int = 400) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)], axis=1)


def box(top: float, left: float, bottom: float, right: float) -> np.ndarray:
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]])


def distances(centre: tuple[float, float]) -> np.ndarray:
    rows, columns = np.indices(SHAPE)
    return np.hypot(rows - centre[0], columns - centre[1])


@pytest.mark.parametrize("centre", [(11.0, 14.0), (10.37, 15.81), (2.2, 27.4)])
def test_a_disc_has_the_voxels_whose_centres_it_holds(centre: tuple[float, float]) -> None:
    inside, far = fill([disc(7.3, centre)], SHAPE), distances(centre)
    sure = np.abs(far - 7.3) > 0.01  # what a polygon of 400 corners leaves out of a disc
    np.testing.assert_array_equal(inside[sure], (far < 7.3)[sure])


def test_discs_in_discs_are_holes_and_islands() -> None:
    centre = (11.3, 14.2)
    inside, far = fill([disc(radius, centre) for radius in (10, 7, 3)], SHAPE), distances(centre)
    sure = np.min([np.abs(far - radius) for radius in (10, 7, 3)], axis=0) > 0.02
    np.testing.assert_array_equal(inside[sure], (((far < 10) & (far > 7)) | (far < 3))[sure])


def test_a_keyhole_is_a_hole() -> None:
    outer, inner = disc(9.0, (11.3, 14.2)), disc(4.0, (11.3, 14.2))[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner[-1:], inner, outer[:1]])
    np.testing.assert_array_equal(fill([keyhole], SHAPE), fill([outer, inner], SHAPE))


@given(arrays(np.float64, st.tuples(st.integers(3, 9), st.just(2)), elements=st.floats(-6, 30)))
def test_any_polygon_agrees_with_other_libraries(polygon: np.ndarray) -> None:
    """Of what a polygon goes round twice matplotlib is of another opinion: it is asked for triangles alone."""
    polygon = polygon.round(2) + 0.003  # no centre on an edge, where conventions differ
    inside = fill([polygon], SHAPE)
    edges = np.stack([polygon, np.roll(polygon, -1, axis=0)])
    rows, columns = np.indices(SHAPE)
    along = edges[1] - edges[0]
    lengths = np.maximum((along**2).sum(axis=1), 1e-12)
    offset = np.stack([rows, columns], -1)[..., None, :] - edges[0]
    share = ((offset * along).sum(-1) / lengths).clip(0, 1)
    near = np.sqrt(((offset - share[..., None] * along) ** 2).sum(-1)).min(axis=-1)
    sure = near > 1e-3
    np.testing.assert_array_equal(inside[sure], grid_points_in_poly(SHAPE, polygon)[sure])
    if len(polygon) == 3:
        path = MatplotlibPath(polygon)
        points = np.stack([rows.ravel(), columns.ravel()], axis=1)
        np.testing.assert_array_equal(inside[sure], path.contains_points(points).reshape(SHAPE)[sure])


def test_neighbours_share_an_edge_and_no_voxel() -> None:
    left, right = fill([box(3, 4, 9, 11)], SHAPE), fill([box(3, 11, 9, 20)], SHAPE)
    assert not (left & right).any()
    np.testing.assert_array_equal(left | right, fill([box(3, 4, 9, 20)], SHAPE))
    assert left.sum() == 6 * 7  # the area: upper and left edges count, lower and right ones do not


def test_rounding_in_a_file_does_not_move_an_edge() -> None:
    """Corners on centres of voxels: 0.1 mm as its decimals and as floating point makes it are one edge."""
    exact = box(3, 4, 9, 11)
    for noise in (-1e-9, 1e-9, 3e-6):
        np.testing.assert_array_equal(fill([exact + noise], SHAPE), fill([exact], SHAPE))


def test_what_lies_beyond_the_plane_is_cut_off() -> None:
    assert fill([box(-50, -40, 90, 80)], SHAPE).all()
    assert not fill([box(-50, -40, -3, 80)], SHAPE).any()
    assert not fill([box(2, 31, 8, 80)], SHAPE).any()
    np.testing.assert_array_equal(np.flatnonzero(fill([box(2, -9, 8, 3)], SHAPE).any(axis=0)), [0, 1, 2])
    assert not fill([], SHAPE).any()
