"""Every metric beside SimpleITK on random masks: its overlap, shape and Hausdorff filters and its distance map."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from random_pairs import KINDS, LABELS, SHAPES, draw, draw_labels

from autoseg.metrics import overlap
from autoseg.metrics.confusion import confusion, count
from autoseg.metrics.score import score_labels
from autoseg.metrics.surface import (
    average_symmetric_surface_distance,
    hausdorff,
    normalised_surface_distance,
    surface_distances,
)

ABSENT = np.finfo(np.float64).max  # what the overlap filter gives for a ratio without a denominator


def _image(array: np.ndarray, spacing: tuple[float, ...]) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    return image


def _contour(mask: np.ndarray) -> np.ndarray:
    """Border voxels in an image one voxel larger on every side: the filter takes the image's outside for the object."""
    padded = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
    return sitk.GetArrayFromImage(sitk.LabelContour(padded, fullyConnected=False)) > 0


def _distances(places: np.ndarray, surface: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    field = sitk.SignedMaurerDistanceMap(_image(surface, spacing), squaredDistance=False, useImageSpacing=True)
    return np.clip(sitk.GetArrayFromImage(field)[places], 0, None)


def _as_volume(array: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, tuple[float, ...]]:
    return (array, spacing) if array.ndim == 3 else (array[None], (1.0, *spacing))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dimension", SHAPES)
def test_overlap_volumes_and_shape_of_many_labels(dimension: str, seed: int) -> None:
    drawn = draw_labels(dimension, seed)
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(_image(drawn.prediction, drawn.spacing), _image(drawn.reference, drawn.spacing))
    shapes = [sitk.LabelShapeStatisticsImageFilter() for _ in range(2)]
    for shape, labels in zip(shapes, (drawn.prediction, drawn.reference), strict=True):
        shape.Execute(_image(labels, drawn.spacing))
    prediction, spacing = _as_volume(drawn.prediction, drawn.spacing)
    scores = score_labels(
        prediction,
        _as_volume(drawn.reference, drawn.spacing)[0],
        {str(label): (label,) for label in LABELS},
        spacing,
        dimension=drawn.prediction.ndim,
        metrics=["dice", "iou", "precision", "sensitivity", "specificity", "f_beta", "volume_similarity"],
    )
    for label in (1, 2, 3, 4):
        row = scores[str(label)]
        assert row["dice"] == pytest.approx(measures.GetDiceCoefficient(label), rel=1e-12)
        assert row["iou"] == pytest.approx(measures.GetJaccardCoefficient(label), rel=1e-12)
        assert row["sensitivity"] == pytest.approx(1 - measures.GetFalseNegativeError(label), rel=1e-12)
        assert row["specificity"] == pytest.approx(1 - measures.GetFalsePositiveError(label), rel=1e-12)
        assert row["precision"] == pytest.approx(1 - measures.GetFalseDiscoveryRate(label), rel=1e-12)
        # Its similarity is signed, -2..2: half its magnitude is one minus ours.
        assert row["volume_similarity"] == pytest.approx(1 - abs(measures.GetVolumeSimilarity(label)) / 2, rel=1e-12)
        sensitivity, precision = 1 - measures.GetFalseNegativeError(label), 1 - measures.GetFalseDiscoveryRate(label)
        assert row["f_beta"] == pytest.approx(5 * precision * sensitivity / (4 * precision + sensitivity), rel=1e-12)
        for side, shape in zip(("pred", "ref"), shapes, strict=True):
            assert row[f"n_{side}"] == shape.GetNumberOfPixels(label)
            assert row[f"volume_{side}"] == pytest.approx(shape.GetPhysicalSize(label), rel=1e-12)
        shift = np.subtract(*(shape.GetCentroid(label) for shape in shapes))[::-1]  # x, y, z there
        assert row["centroid_distance"] == pytest.approx(np.linalg.norm(shift), rel=1e-9)
        assert [row[f"shift_{axis}"] for axis in "zyx"[3 - len(shift) :]] == pytest.approx(shift, rel=1e-9)
        for side, labels in (("pred", drawn.prediction), ("ref", drawn.reference)):
            filled = sitk.BinaryFillhole(_image(labels == label, drawn.spacing), fullyConnected=False)
            holes = (sitk.GetArrayFromImage(filled) > 0) & (labels == 0)  # another label is no hole
            assert row[f"hole_voxels_{side}"] == holes.sum()


def test_overlap_of_a_label_that_one_image_lacks() -> None:
    """Where one of the two is empty the values are equal; a ratio that does not exist is None here, huge there."""
    drawn = draw_labels("2D", 0)
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(_image(drawn.prediction, drawn.spacing), _image(drawn.reference, drawn.spacing))
    confused = confusion(drawn.prediction, drawn.reference)
    invented, missed = count(confused, (5,)), count(confused, (6,))
    for counts, label in ((invented, 5), (missed, 6)):
        assert overlap.dice(counts) == measures.GetDiceCoefficient(label) == 0
        assert overlap.iou(counts) == measures.GetJaccardCoefficient(label) == 0
        assert overlap.volume_similarity(counts) == 1 - abs(measures.GetVolumeSimilarity(label)) / 2 == 0
    assert overlap.specificity(invented) == pytest.approx(1 - measures.GetFalsePositiveError(5), rel=1e-12)
    assert overlap.sensitivity(invented) is None
    assert measures.GetFalseNegativeError(5) == ABSENT
    assert overlap.sensitivity(missed) == 1 - measures.GetFalseNegativeError(6) == 0
    assert overlap.precision(missed) is None
    assert measures.GetFalseDiscoveryRate(6) == ABSENT


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("dimension", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_distances_between_border_voxels(kind: str, dimension: str, seed: int) -> None:
    """The borders by its contour filter, the distances by its distance map (the same exact Euclidean distance)."""
    drawn = draw(kind, dimension, seed)
    ours = surface_distances(drawn.prediction, drawn.reference, drawn.spacing)
    assert ours is not None
    borders = _contour(drawn.prediction), _contour(drawn.reference)
    there, back = _distances(*borders, drawn.spacing), _distances(*borders[::-1], drawn.spacing)
    both = np.concatenate([there, back]).astype(np.float64)
    np.testing.assert_allclose(np.sort(ours.to_reference), np.sort(there), rtol=1e-5)
    np.testing.assert_allclose(np.sort(ours.to_prediction), np.sort(back), rtol=1e-5)
    expected = max(np.percentile(there, 95), np.percentile(back, 95))
    assert hausdorff(ours, 95) == pytest.approx(expected, rel=1e-5)
    assert average_symmetric_surface_distance(ours) == pytest.approx(both.mean(), rel=1e-5)
    for tolerance in (0.61, 1.37, 2.93, 7.77):  # no distance is that close to one of them that rounding decides
        assert np.abs(both - tolerance).min() > 1e-4 * tolerance
        assert normalised_surface_distance(ours, tolerance) == (both <= tolerance).mean()

    measure = sitk.HausdorffDistanceImageFilter()
    measure.Execute(*(_image(border, drawn.spacing) for border in borders))
    assert hausdorff(ours) == pytest.approx(measure.GetHausdorffDistance(), rel=1e-5)
    # Its "average Hausdorff distance" gives both directions half the weight; ASSD weighs them by their border voxels.
    means = ours.to_reference.mean(dtype=np.float64), ours.to_prediction.mean(dtype=np.float64)
    assert sum(means) / 2 == pytest.approx(measure.GetAverageHausdorffDistance(), rel=1e-5)


def test_its_hausdorff_filter_measures_solid_objects() -> None:
    """Fed with the masks themselves it takes all of their voxels for the sets: neither value bounds the other.

    A cavity of one voxel: that voxel is one step from the rest of its object, and the cavity's walls are up to five
    steps from the border of the object without it. A shell: the solid object's middle is five steps from it, and their
    borders are the same voxels.
    """
    solid = np.zeros((13, 13, 13), bool)
    solid[1:12, 1:12, 1:12] = True
    cavity, shell = solid.copy(), solid.copy()
    cavity[6, 6, 6] = False
    shell[2:11, 2:11, 2:11] = False
    spacing = (2.0, 0.5, 0.5)
    for hollow, of_solids, of_borders in ((cavity, 0.5, 5 * 0.5), (shell, 5 * 0.5, 0)):
        measure = sitk.HausdorffDistanceImageFilter()
        measure.Execute(_image(hollow, spacing), _image(solid, spacing))
        distances = surface_distances(hollow, solid, spacing)
        assert distances is not None
        assert measure.GetHausdorffDistance() == pytest.approx(of_solids)
        assert hausdorff(distances) == pytest.approx(of_borders)


@pytest.mark.parametrize("empty", ["prediction", "reference", "both"])
def test_distances_to_nothing(empty: str) -> None:
    """None here; the filter refuses."""
    drawn = draw("blobs", "2D", 0)
    nothing = np.zeros_like(drawn.reference)
    prediction = drawn.prediction if empty == "reference" else nothing
    reference = drawn.reference if empty == "prediction" else nothing
    assert surface_distances(prediction, reference, drawn.spacing) is None
    with pytest.raises(RuntimeError, match="pixelcount is equal to 0"):
        sitk.HausdorffDistanceImageFilter().Execute(*(_image(mask, drawn.spacing) for mask in (prediction, reference)))
