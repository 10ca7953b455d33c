"""Features in mm, samples with weights, and the classifiers that learn from both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_cases import Drawn, ball, dice, draw_case, draw_dataset
from scipy.ndimage import binary_dilation, binary_erosion

from autoseg.data.image import Geometry
from autoseg.studies.comparison.baselines.features import FeaturePlan, FeatureSlab, plan_features, slab_features, slabs
from autoseg.studies.comparison.baselines.intensities import Normalized
from autoseg.studies.comparison.baselines.protocol import Baseline
from autoseg.studies.comparison.baselines.sampling import VoxelSample, draw
from autoseg.studies.comparison.baselines.voxel_classifiers import best_share, logistic_regression, random_forest

SHAPE = (10, 24, 24)


def ready(array: np.ndarray, geometry: Geometry) -> Normalized:
    return Normalized(array.astype(np.float32), np.ones(array.shape[1:], bool), geometry)


def test_derivatives_are_those_of_a_quadratic_form() -> None:
    """Smoothing leaves the second derivatives of a quadratic form, and central differences are exact for it."""
    spacing, scale = (2.5, 1.0, 0.5), 1.5
    hessian = np.array([[0.3, 0.1, 0.0], [0.1, -0.2, 0.05], [0.0, 0.05, 0.4]])
    z, y, x = (np.arange(n) * s - n * s / 2 for n, s in zip((21, 31, 41), spacing, strict=True))
    place = np.stack(np.meshgrid(z, y, x, indexing="ij"))
    form = 0.5 * np.einsum("izyx,ij,jzyx->zyx", place, hessian, place)
    image = ready(form[None], Geometry(spacing=spacing))
    mask = np.zeros(form.shape, bool)
    mask[10, 15, 20] = mask[11, 14, 22] = True
    rows = slab_features(image, FeaturePlan(1, (scale,), planar=False), FeatureSlab(0, 0, 21), mask)
    assert rows.shape == (2, 1 + 5 + 3)
    eigenvalues = np.linalg.eigvalsh(hessian)[::-1] * scale**2
    np.testing.assert_allclose(rows[:, 3:6], [eigenvalues] * 2, rtol=1e-2, atol=2e-3)
    slopes = [np.linalg.norm(hessian @ place[:, *p]) * scale for p in ((10, 15, 20), (11, 14, 22))]
    np.testing.assert_allclose(rows[:, 2], slopes, rtol=1e-2)
    relative = (np.array([[10, 15, 20], [11, 14, 22]]) + 0.5) / (21, 31, 41) - 0.5
    np.testing.assert_allclose(rows[:, 6:], relative, atol=1e-6)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("shape", [(12, 9, 7), (1, 23, 9)])
def test_features_do_not_depend_on_the_cuts(planar: bool, shape: tuple[int, int, int]) -> None:
    array = np.random.default_rng(0).normal(size=(2, *shape))
    image = ready(array, Geometry(spacing=(1.5, 1.0, 1.0)))
    plan = FeaturePlan(2, (1.0, 2.0), planar)
    axis = 0 if shape[0] > 1 else 1
    length = shape[axis]
    whole = slab_features(image, plan, FeatureSlab(axis, 0, length), np.ones(shape, bool))
    assert whole.shape == (array[0].size, plan.count)
    assert np.isfinite(whole).all()
    parts = []
    for start, stop in ((0, 1), (1, 5), (5, length)):
        slab = FeatureSlab(axis, start, stop)
        parts.append(slab_features(image, plan, slab, np.ones(array[0][slab.index].shape, bool)))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_slabs_cover_a_volume_once() -> None:
    plan = FeaturePlan(4, (1.0, 2.0, 4.0), planar=False)
    for shape in ((100, 400, 300), (1, 9000, 4000)):
        cuts = list(slabs(shape, plan))
        assert len(cuts) > 1
        assert [cut.start for cut in cuts] == [0, *(cut.stop for cut in cuts[:-1])]
        assert cuts[-1].stop == shape[cuts[-1].axis]


def test_scales_follow_the_spacing_and_pictures_are_planar() -> None:
    volumes = plan_features([Geometry(spacing=(5.0, 0.5, 0.5))] * 3, 2)
    assert (volumes.scales, volumes.planar, volumes.count) == ((0.5, 1.0, 2.0), False, 2 * 16 + 3)
    pictures = plan_features([Geometry.plane()], 1)
    assert (pictures.scales, pictures.planar, pictures.count) == ((1.0, 2.0, 4.0), True, 13 + 2)


def test_a_sample_is_balanced_and_its_weights_undo_that() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros(SHAPE, np.int16)
    labels[2:5], labels[5, 3, 3:9], labels[9] = 1, 2, 3
    image = ready(rng.normal(size=(1, *SHAPE)), Geometry())
    plan = FeaturePlan(1, (1.0,), planar=False)
    sample = draw(image, labels, plan, known=3, quota=300, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(np.bincount(sample.labels), [100, 100, 6])
    sums = [sample.weights[sample.labels == value].sum() for value in range(3)]
    np.testing.assert_allclose(sums, [np.count_nonzero(labels == value) for value in range(3)])
    intensities = image.array[0][labels == 2]
    np.testing.assert_array_equal(np.sort(sample.features[sample.labels == 2, 0]), np.sort(intensities))


def test_the_share_of_the_prior_with_the_largest_dice() -> None:
    """Two voxels of 100 stand for the background that looks like the object: with the prior they are told apart."""
    scores = np.log([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9]])
    prior = np.array([1.0, -1.0])
    classes = np.array([0, 1], np.int16)
    background_heavy = VoxelSample(np.empty((3, 0)), np.array([0, 0, 1]), np.array([50.0, 50.0, 10.0]))
    assert best_share(scores, prior, classes, background_heavy) == 0.25
    object_heavy = VoxelSample(np.empty((3, 0)), np.array([0, 1, 1]), np.array([50.0, 10.0, 10.0]))
    assert best_share(scores, prior, classes, object_heavy) == 0.0
    nothing = VoxelSample(np.empty((3, 0)), np.zeros(3, int), np.ones(3))
    assert best_share(scores, prior, classes, nothing) == 0.5


def textured(seed: int) -> Drawn:
    """An object of the background's mean intensity, which only its roughness shows, in noise of two channels."""
    rng = np.random.default_rng(seed)
    labels = ball(SHAPE, (5, 12 + rng.uniform(-3, 3), 12 + rng.uniform(-3, 3)), 6)
    checks = (np.indices(SHAPE).sum(axis=0) // 2 % 2) * 2 - 1
    image = 100 + np.where(labels, 12 * checks, 0) + rng.normal(scale=4, size=(2, *SHAPE))
    return image, labels.astype(np.uint8)


@pytest.mark.parametrize("method", [logistic_regression, random_forest])
def test_texture_is_learned(tmp_path: Path, method: Baseline) -> None:
    context = draw_dataset(tmp_path, [textured(seed) for seed in range(5)])
    new = textured(9)
    found = method(context).predict(draw_case(tmp_path, "new", new))
    assert dice(found.labels == 1, new[1] == 1) > 0.8
    assert found.disagreement is not None
    border = binary_dilation(new[1]) & ~binary_erosion(new[1])
    assert 0 <= found.disagreement.min() <= found.disagreement.max() <= 0.5 + 1e-6  # the best of two labels
    assert found.disagreement[border].mean() > 2 * found.disagreement[~border].mean()
