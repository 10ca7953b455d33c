"""Surface distances against shapes with known answers, brute force, SimpleITK and MONAI's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from edt import edtsq
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from autoseg.errors import ImageError
from autoseg.metrics.surface import (
    SurfaceDistances,
    average_symmetric_surface_distance,
    border,
    hausdorff,
    normalised_surface_distance,
    surface_distances,
)

SPACING = (2.5, 0.8, 0.7)


def _distances(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> SurfaceDistances:
    distances = surface_distances(prediction, reference, spacing)
    assert distances is not None
    return distances


def _blobs(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping random objects with holes, islands and parts on the image's edge."""
    rng = np.random.default_rng(seed)
    common = gaussian_filter(rng.normal(size=shape), 2)
    fields = [common + 0.5 * gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(2)]
    return fields[0] > 0.6 * fields[0].std(), fields[1] > 0.8 * fields[1].std()


def _ellipsoids() -> tuple[np.ndarray, np.ndarray]:
    z, y, x = np.indices((10, 24, 20))
    prediction = ((z - 4) / 3) ** 2 + ((y - 11) / 8) ** 2 + ((x - 9) / 6) ** 2 <= 1
    reference = ((z - 5) / 3.2) ** 2 + ((y - 12) / 7.4) ** 2 + ((x - 10) / 6.6) ** 2 <= 1
    return prediction, reference


def _contour(mask: np.ndarray) -> np.ndarray:
    """Border voxels by SimpleITK; a margin keeps the image's edge from counting as inside."""
    padded = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
    contour = sitk.GetArrayFromImage(sitk.LabelContour(padded, fullyConnected=False)) > 0
    return contour[(slice(1, -1),) * mask.ndim]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("steps", [1, 3])
def test_parallel_planes_are_their_shift_apart(axis: int, steps: int) -> None:
    prediction = np.zeros((12, 12, 12), bool)
    prediction[(slice(None),) * axis + (2,)] = True
    distances = _distances(prediction, np.roll(prediction, steps, axis), SPACING)
    expected = steps * SPACING[axis]
    assert hausdorff(distances) == pytest.approx(expected)
    assert hausdorff(distances, 95) == pytest.approx(expected)
    assert average_symmetric_surface_distance(distances) == pytest.approx(expected)
    assert normalised_surface_distance(distances, expected) == 1  # a distance equal to the tolerance is within
    assert normalised_surface_distance(distances, expected * 0.99) == 0


def test_point_to_point_is_pythagoras() -> None:
    prediction, reference = np.zeros((2, 9, 9, 9), bool)
    prediction[1, 2, 3] = reference[3, 5, 7] = True
    expected = np.hypot(np.hypot(2 * 2.5, 3 * 0.8), 4 * 0.7)
    assert hausdorff(_distances(prediction, reference, SPACING)) == pytest.approx(expected)


def test_concentric_cubes() -> None:
    """Faces lie 2 voxels apart; the outer corners are the farthest, 2 voxels in every direction."""
    outer, inner = np.zeros((2, 13, 13, 13), bool)
    outer[1:12, 1:12, 1:12] = inner[3:10, 3:10, 3:10] = True
    distances = _distances(outer, inner, (1.0, 1.0, 1.0))
    assert distances.to_reference.size == 11**3 - 9**3
    assert hausdorff(distances) == pytest.approx(2 * np.sqrt(3))
    assert distances.to_prediction.max() == pytest.approx(2)
    facing, outside, inside = 6 * 7**2, 11**3 - 9**3, 7**3 - 5**3
    assert normalised_surface_distance(distances, 2) == pytest.approx((facing + inside) / (outside + inside))


def test_concentric_balls_are_the_difference_of_radii_apart() -> None:
    z, y, x = np.indices((65, 65, 65)) - 32
    radius = np.sqrt(z * z + y * y + x * x)
    distances = _distances(radius <= 28, radius <= 18, (0.5, 0.5, 0.5))
    assert average_symmetric_surface_distance(distances) == pytest.approx(5, abs=0.15)
    assert hausdorff(distances) == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("shape", "spacing"), [((8, 20, 17), SPACING), ((31, 26), (0.4, 1.3))])
def test_equals_brute_force(seed: int, shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    prediction, reference = _blobs(seed, shape)
    ours, theirs = (np.argwhere(_contour(mask)) * spacing for mask in (prediction, reference))
    table = cdist(ours, theirs)
    there, back = table.min(axis=1), table.min(axis=0)
    distances = _distances(prediction, reference, spacing)
    np.testing.assert_allclose(np.sort(distances.to_reference), np.sort(there), rtol=1e-6)
    np.testing.assert_allclose(np.sort(distances.to_prediction), np.sort(back), rtol=1e-6)
    both = np.concatenate([there, back])
    assert hausdorff(distances, 95) == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-6)
    assert average_symmetric_surface_distance(distances) == pytest.approx(both.mean(), rel=1e-6)
    assert normalised_surface_distance(distances, 1.1) == pytest.approx((both <= 1.1).mean())


def _with_islands(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """An object in a corner of a large image, and a prediction with islands in the other corners."""
    reference = np.zeros(shape, bool)
    reference[tuple(slice(2, 8) for _ in shape)] = True
    prediction = np.roll(reference, 1)
    prediction[tuple(slice(side - 3, side - 1) for side in shape)] = True
    prediction[tuple(slice(1, 2) if axis else slice(side - 5, side) for axis, side in enumerate(shape))] = True
    return prediction, reference


@pytest.mark.parametrize(("shape", "spacing"), [((40, 36, 44), SPACING), ((90, 80), (0.4, 1.3)), ((60,), (0.5,))])
@pytest.mark.parametrize("change", ["swapped", "only islands", "as it is"])
def test_islands_far_away_equal_brute_force(shape: tuple[int, ...], spacing: tuple[float, ...], change: str) -> None:
    prediction, reference = _with_islands(shape)
    if change == "only islands":  # the prediction has nothing where the reference is
        prediction[tuple(slice(0, 12) for _ in shape)] = False
    if change == "swapped":
        prediction, reference = reference, prediction
    ours, theirs = (np.argwhere(border(mask)) * spacing for mask in (prediction, reference))
    table = cdist(ours, theirs)
    distances = _distances(prediction, reference, spacing)
    np.testing.assert_allclose(np.sort(distances.to_reference), np.sort(table.min(axis=1)), rtol=1e-6)
    np.testing.assert_allclose(np.sort(distances.to_prediction), np.sort(table.min(axis=0)), rtol=1e-6)


def test_islands_do_not_make_the_transformed_box_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    transformed = []

    def recorded(image: np.ndarray, **options: object) -> np.ndarray:
        transformed.append(image.size)
        return edtsq(image, **options)

    monkeypatch.setattr("autoseg.metrics.surface.edt.edtsq", recorded)
    prediction, reference = _with_islands((40, 36, 44))
    assert surface_distances(prediction, reference, SPACING) is not None
    assert max(transformed) == 6**3


@pytest.mark.parametrize("seed", range(3))
def test_hausdorff_equals_simpleitk_on_the_borders(seed: int) -> None:
    prediction, reference = _blobs(seed, (9, 22, 18))
    images = [sitk.GetImageFromArray(_contour(mask).astype(np.uint8)) for mask in (prediction, reference)]
    for image in images:
        image.SetSpacing(SPACING[::-1])
    measure = sitk.HausdorffDistanceImageFilter()
    measure.Execute(*images)
    assert hausdorff(_distances(prediction, reference, SPACING)) == pytest.approx(
        measure.GetHausdorffDistance(), rel=1e-5
    )


def test_equals_monai() -> None:
    """Numbers of monai 1.5 (compute_hausdorff_distance, compute_average_surface_distance, compute_surface_dice)."""
    distances = _distances(*_ellipsoids(), SPACING)
    assert hausdorff(distances) == pytest.approx(3.7376, abs=1e-4)
    assert hausdorff(distances, 95) == pytest.approx(2.8579, abs=1e-4)
    assert average_symmetric_surface_distance(distances) == pytest.approx(1.2050898, abs=1e-6)
    assert normalised_surface_distance(distances, 0.75) == pytest.approx(0.4129747, abs=1e-6)
    assert normalised_surface_distance(distances, 1.5) == pytest.approx(0.613924, abs=1e-6)


def test_equals_monai_in_2d() -> None:
    prediction, reference = _ellipsoids()
    distances = _distances(prediction[4], reference[5], SPACING[1:])
    assert hausdorff(distances, 95) == pytest.approx(1.4, abs=1e-4)
    assert average_symmetric_surface_distance(distances) == pytest.approx(0.63432294, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_symmetry_scaling_and_turning(seed: int) -> None:
    prediction, reference = _blobs(seed, (9, 14, 12))
    there, back = _distances(prediction, reference, SPACING), _distances(reference, prediction, SPACING)
    larger = _distances(prediction, reference, tuple(3 * step for step in SPACING))
    order = (2, 0, 1)
    turned = _distances(prediction.transpose(order), reference.transpose(order), tuple(SPACING[i] for i in order))
    for measure in (hausdorff, average_symmetric_surface_distance):
        assert measure(there) == pytest.approx(measure(back))
        assert measure(larger) == pytest.approx(3 * measure(there), rel=1e-6)
        assert measure(turned) == pytest.approx(measure(there), rel=1e-6)
    assert normalised_surface_distance(larger, 3.3) == normalised_surface_distance(there, 1.1)


def test_surroundings_do_not_matter() -> None:
    prediction, reference = _ellipsoids()
    margin = [(3, 5), (0, 2), (7, 1)]
    alone = _distances(prediction, reference, SPACING)
    padded = _distances(np.pad(prediction, margin), np.pad(reference, margin), SPACING)
    np.testing.assert_array_equal(alone.to_reference, padded.to_reference)


@pytest.mark.parametrize("shape", [(1, 5, 5), (5, 1, 5), (6, 7)])
def test_an_object_is_nowhere_apart_from_itself(shape: tuple[int, ...]) -> None:
    mask = np.ones(shape, bool)
    distances = _distances(mask, mask, SPACING[: len(shape)])
    assert hausdorff(distances) == 0
    assert average_symmetric_surface_distance(distances) == 0
    assert normalised_surface_distance(distances, 0) == 1


@pytest.mark.parametrize("seed", range(3))
def test_border_equals_simpleitk(seed: int) -> None:
    for mask in _blobs(seed, (7, 15, 13)):
        np.testing.assert_array_equal(border(mask), _contour(mask))


def test_empty_masks_have_no_distances() -> None:
    full, empty = np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    assert surface_distances(full, empty, SPACING) is None
    assert surface_distances(empty, full, SPACING) is None
    assert surface_distances(empty, empty, SPACING) is None


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0)])
def test_wrong_spacing_is_refused(spacing: tuple[float, ...]) -> None:
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(ImageError, match="wrong spacing"):
        surface_distances(mask, mask, spacing)


@pytest.mark.usefixtures("unchecked_shapes")
def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ImageError, match="different shapes"):
        surface_distances(np.ones((3, 3), bool), np.ones((3, 4), bool), (1.0, 1.0))
