"""Metrics beside google-deepmind/surface-distance: equal on the same surface, and how its surface is another one.

Its surface points are the corners that voxels inside and outside of a mask share (here: the centres of border voxels),
and each weighs as much as the piece of surface around it (here: all weigh the same).
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import surface_distance
from random_pairs import KINDS, SHAPES, Drawn, draw

from autoseg.metrics import overlap
from autoseg.metrics.confusion import confusion, count
from autoseg.metrics.score import score_labels
from autoseg.metrics.surface import (
    SurfaceDistances,
    average_symmetric_surface_distance,
    hausdorff,
    normalised_surface_distance,
    surface_distances,
)

pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # of SciPy, for names it used

EVERY_KIND = pytest.mark.parametrize(
    "drawn",
    [
        pytest.param(draw(kind, dimension, seed), id=f"{kind}-{dimension}-{seed}")
        for kind, dimension, seed in product(KINDS, SHAPES, range(2))
    ],
)
TOLERANCES = (0.61, 1.37, 2.93, 7.77)


def _theirs(drawn: Drawn) -> dict[str, np.ndarray]:
    return surface_distance.compute_surface_distances(drawn.reference, drawn.prediction, drawn.spacing)


def _ours(drawn: Drawn) -> SurfaceDistances:
    distances = surface_distances(drawn.prediction, drawn.reference, drawn.spacing)
    assert distances is not None
    return distances


def _on_its_surface(drawn: Drawn) -> SurfaceDistances:
    """Our distances between its surface points.

    A grid twice as fine keeps the points apart, so that each of them is a border voxel.
    """
    spread = []
    for mask in (drawn.prediction, drawn.reference):
        corners = _corners(mask)
        points = np.zeros([2 * side for side in corners.shape], bool)
        points[(slice(None, None, 2),) * mask.ndim] = corners
        spread.append(points)
    return _ours(Drawn(*spread, tuple(step / 2 for step in drawn.spacing)))


def _corners(mask: np.ndarray) -> np.ndarray:
    """Corners of voxels, one more an axis than voxels, that touch both the mask and its surroundings."""
    padded = np.pad(mask, 1)
    around = [
        padded[tuple(slice(s, side - 1 + s) for s, side in zip(shift, padded.shape, strict=True))]
        for shift in product((0, 1), repeat=mask.ndim)
    ]
    return np.any(around, axis=0) & ~np.all(around, axis=0)


def _unweighted(theirs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.ones_like(values) if "areas" in name else values for name, values in theirs.items()}


@EVERY_KIND
def test_dice(drawn: Drawn) -> None:
    counts = count(confusion(drawn.prediction, drawn.reference), (1,))
    assert overlap.dice(counts) == pytest.approx(
        surface_distance.compute_dice_coefficient(drawn.reference, drawn.prediction), rel=1e-12
    )


@EVERY_KIND
def test_distances_between_the_same_points_are_equal(drawn: Drawn) -> None:
    ours, theirs = _on_its_surface(drawn), _theirs(drawn)
    for side, name in ((ours.to_reference, "pred_to_gt"), (ours.to_prediction, "gt_to_pred")):
        np.testing.assert_allclose(np.sort(side), theirs[f"distances_{name}"], rtol=1e-5, atol=1e-6)
    assert hausdorff(ours) == pytest.approx(surface_distance.compute_robust_hausdorff(theirs, 100), rel=1e-5)


@EVERY_KIND
def test_means_and_shares_of_points_of_equal_weight_are_equal(drawn: Drawn) -> None:
    ours, theirs = _on_its_surface(drawn), _unweighted(_theirs(drawn))
    sizes = len(ours.to_prediction), len(ours.to_reference)
    means = surface_distance.compute_average_surface_distance(theirs)
    assert average_symmetric_surface_distance(ours) == pytest.approx(np.average(means, weights=sizes), rel=1e-5)
    for tolerance in TOLERANCES:
        assert normalised_surface_distance(ours, tolerance) == pytest.approx(
            surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance), rel=1e-12
        )


@EVERY_KIND
def test_percentiles_are_not_interpolated_there(drawn: Drawn) -> None:
    """HD95 there is the smallest distance that 95 % do not exceed; here it lies between that and its neighbour."""
    ours, theirs = _on_its_surface(drawn), _unweighted(_theirs(drawn))
    directed = theirs["distances_pred_to_gt"], theirs["distances_gt_to_pred"]
    steps = max(np.percentile(side, 95, method="inverted_cdf") for side in directed)
    assert surface_distance.compute_robust_hausdorff(theirs, 95) == steps
    below = max(np.percentile(side, 95, method="lower") for side in directed)
    above = max(np.percentile(side, 95, method="higher") for side in directed)
    assert below * (1 - 1e-5) <= hausdorff(ours, 95) <= above * (1 + 1e-5)
    assert below <= steps <= above


def test_percentiles_of_twenty_distances() -> None:
    distances = np.arange(1, 21, dtype=np.float32)
    ours = SurfaceDistances(distances, distances)
    names = ("distances_gt_to_pred", "distances_pred_to_gt", "surfel_areas_gt", "surfel_areas_pred")
    theirs = dict(zip(names, (distances, distances, np.ones(20), np.ones(20)), strict=True))
    assert hausdorff(ours, 95) == pytest.approx(19.05)
    assert surface_distance.compute_robust_hausdorff(theirs, 95) == 19


@EVERY_KIND
def test_hausdorff_distances_differ_by_a_voxels_diagonal_at_most(drawn: Drawn) -> None:
    """Each corner on its surface is half a diagonal from a border voxel's centre and the other way round.

    Of the voxels around such a corner one inside and one outside share a face: the former is a border voxel.
    """
    theirs = surface_distance.compute_robust_hausdorff(_theirs(drawn), 100)
    assert abs(hausdorff(_ours(drawn)) - theirs) <= np.linalg.norm(drawn.spacing)


@pytest.mark.parametrize("steps", [1, 4])
def test_parallel_sheets(steps: int) -> None:
    """Sheets one voxel thick, `steps` apart: the facing sides of its surface are one voxel closer than the far ones."""
    prediction = np.zeros((12, 9, 10), bool)
    prediction[3] = True
    drawn = Drawn(prediction, np.roll(prediction, steps, 0), (2.5, 0.8, 0.7))
    ours, theirs = _ours(drawn), _theirs(drawn)
    apart = steps * 2.5
    assert hausdorff(ours) == pytest.approx(apart)
    assert surface_distance.compute_robust_hausdorff(theirs, 100) == pytest.approx(apart)
    assert average_symmetric_surface_distance(ours) == pytest.approx(apart)
    assert surface_distance.compute_average_surface_distance(theirs) == pytest.approx([apart - 2.5 / 2] * 2)
    assert normalised_surface_distance(ours, apart - 0.1) == 0
    assert surface_distance.compute_surface_dice_at_tolerance(theirs, apart - 0.1) == pytest.approx(0.5)


def test_a_rectangle_that_is_one_row_too_long() -> None:
    """The wrong side's share of the outline: in border voxels 18 of 74, in mm a tenth, as the rows are 5 mm apart."""
    rows, columns, (row, column) = 10, 10, (5.0, 1.0)
    prediction, reference = np.zeros((2, rows + 5, columns + 4), bool)
    reference[2 : 2 + rows, 2 : 2 + columns] = True
    prediction[2 : 3 + rows, 2 : 2 + columns] = True
    drawn = Drawn(prediction, reference, (row, column))

    ring = 2 * (rows + columns) - 4
    wrong = (columns - 2) + columns  # the reference's last row within the prediction; the prediction's last row
    expected = 1 - wrong / (ring + ring + 2)
    assert normalised_surface_distance(_ours(drawn), 0.5) == pytest.approx(expected)
    assert expected == pytest.approx(0.757, abs=5e-4)

    cut = np.hypot(row, column) / 2  # its outline cuts corners
    length = 2 * (columns - 1) * column + 2 * (rows - 1) * row + 4 * cut
    wrong = 2 * (columns - 1) * column + 2 * cut
    expected = 1 - wrong / (length + length + 2 * row)
    assert surface_distance.compute_surface_dice_at_tolerance(_theirs(drawn), 0.5) == pytest.approx(expected)
    assert expected == pytest.approx(0.906, abs=5e-4)


def test_concentric_balls() -> None:
    """Both means tend to the difference of the radii; on its surface, up to two corners thick, from further below."""
    deviations = []
    for size in (1.0, 0.5):
        spacing = (2 * size, size, size)
        sides = [2 * int(23 / step) + 1 for step in spacing]
        axes = np.meshgrid(*(step * (np.arange(side) - side // 2) for side, step in zip(sides, spacing, strict=True)))
        radius = np.sqrt(sum(axis**2 for axis in axes)).transpose(1, 0, 2)
        drawn = Drawn(radius <= 21, radius <= 13, spacing)
        ours = average_symmetric_surface_distance(_ours(drawn))
        theirs = surface_distance.compute_average_surface_distance(_theirs(drawn))
        deviations.append([abs(value - 8) for value in (ours, *theirs)])
        assert max(deviations[-1]) < np.linalg.norm(spacing) / 2
        assert deviations[-1][0] < min(deviations[-1][1:])
    assert all(fine < 2 / 3 * coarse for coarse, fine in zip(*deviations, strict=True))


def test_a_distance_equal_to_the_tolerance_is_within() -> None:
    """Also where it is larger by rounding: 3 steps of 0.8 mm are 2.4000000000000004 mm there."""
    prediction = np.zeros((9, 6, 6), bool)
    prediction[2:4] = True
    for step, expected in ((0.5, 1), (0.8, 0)):
        drawn = Drawn(prediction, np.roll(prediction, 3, 0), (step, 1.0, 1.0))
        tolerance = 1.5 if step == 0.5 else 2.4
        assert normalised_surface_distance(_ours(drawn), tolerance) == 1
        far = _theirs(drawn)["distances_gt_to_pred"].max()
        assert (far <= tolerance) == expected


@pytest.mark.parametrize("empty", ["prediction", "reference", "both"])
def test_empty_masks(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dice and NSD are equal; distances are infinite there and None here."""
    for name, value in (("Inf", np.inf), ("NaN", np.nan)):  # names that NumPy 2 has no more
        monkeypatch.setattr(np, name, value, raising=False)
    drawn = draw("blobs", "3D", 0)
    nothing = np.zeros_like(drawn.reference)
    prediction = drawn.prediction if empty == "reference" else nothing
    reference = drawn.reference if empty == "prediction" else nothing
    drawn = Drawn(prediction, reference, drawn.spacing)
    row = score_labels(prediction, reference, {"1": (1,)}, drawn.spacing, dimension=3)["1"]
    assert [row[name] for name in ("hausdorff", "hd95", "assd")] == [None] * 3
    theirs = _theirs(drawn)
    assert surface_distance.compute_robust_hausdorff(theirs, 100) == np.inf
    dice = surface_distance.compute_dice_coefficient(reference, prediction)
    if empty == "both":
        assert np.isnan(dice)
        assert (row["dice"], row["nsd"]) == (None, None)
    else:
        assert row["dice"] == dice == 0
        assert row["nsd"] == surface_distance.compute_surface_dice_at_tolerance(theirs, 1) == 0
