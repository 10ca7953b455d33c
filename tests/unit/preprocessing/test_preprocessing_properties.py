"""Resampling and the way back, for images and labels of any shape and spacing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import binary_fill_holes, maximum_filter, minimum_filter
from skimage.transform import resize as skimage_resize
from test_preprocessing_labels import reference

from autoseg.data.crop import as_slices, bounding_box, nonzero_mask
from autoseg.data.image import Geometry, Image
from autoseg.preprocessing.prepare import preprocess_case
from autoseg.preprocessing.record import CaseProperties
from autoseg.preprocessing.resample import resampled_shape, resize
from autoseg.preprocessing.resample_labels import resize_labels
from autoseg.preprocessing.undo import restore_labels, restore_probabilities

Shape = tuple[int, ...]
Spacing = tuple[float, ...]

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.tuples(*[st.integers(1, 9)] * 3)
MM = st.sampled_from((0.4, 0.7, 1.0, 1.5, 2.5, 6.0))
SPACINGS = st.tuples(MM, MM, MM)
ODD = st.tuples(*[st.sampled_from((1, 3, 5))] * 3)
"""Factors after which a fine voxel's centre lies on each coarse one's."""
MASKS = arrays.arrays(bool, st.tuples(*[st.integers(1, 6)] * 3))


def volume(seed: int, shape: Shape, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(channels, *shape)).astype(np.float32)


def label_map(seed: int, shape: Shape, count: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, shape).astype(np.int16)


def finer(shape: Shape, spacing: Spacing, factors: Shape) -> tuple[Shape, Spacing]:
    """Shape and spacing of the same extent with each voxel divided into as many as `factors` along each axis."""
    return (
        tuple(n * factor for n, factor in zip(shape, factors, strict=True)),
        tuple(mm / factor for mm, factor in zip(spacing, factors, strict=True)),
    )


@given(SEEDS, SHAPES, SPACINGS, ODD, st.sampled_from((1, 3)))
def test_an_image_returns_from_a_finer_grid(
    seed: int, shape: Shape, spacing: Spacing, factors: Shape, order: int
) -> None:
    image = volume(seed, shape)
    fine, fine_spacing = finer(shape, spacing, factors)
    there = resize(image, fine, spacing_from=spacing, spacing_to=fine_spacing, order=order)
    back = resize(there, shape, spacing_from=fine_spacing, spacing_to=spacing, order=order)
    # the prefilter starts twelve samples beyond the edge, where 0.27 ** 12 of it is left
    np.testing.assert_allclose(back, image, atol=1e-5)


@given(SEEDS, SHAPES, SPACINGS, ODD)
def test_labels_return_from_a_finer_grid(seed: int, shape: Shape, spacing: Spacing, factors: Shape) -> None:
    labels = label_map(seed, shape)
    fine, fine_spacing = finer(shape, spacing, factors)
    there = resize_labels(labels, fine, spacing_from=spacing, spacing_to=fine_spacing)
    back = resize_labels(there, shape, spacing_from=fine_spacing, spacing_to=spacing)
    np.testing.assert_array_equal(back, labels)


@given(SEEDS, SHAPES, SPACINGS, st.tuples(*[st.integers(0, 9)] * 3))
def test_only_voxels_beside_another_label_change_on_the_way_there_and_back(
    seed: int, shape: Shape, spacing: Spacing, more: Shape
) -> None:
    blocks = label_map(seed, tuple(-(-n // 4) for n in shape))
    labels = np.kron(blocks, np.ones((4, 4, 4), np.int16))[tuple(slice(n) for n in shape)]
    fine = tuple(n + m for n, m in zip(shape, more, strict=True))
    fine_spacing = tuple(mm * n / m for mm, n, m in zip(spacing, shape, fine, strict=True))
    there = resize_labels(labels, fine, spacing_from=spacing, spacing_to=fine_spacing)
    back = resize_labels(there, shape, spacing_from=fine_spacing, spacing_to=spacing)
    alone = maximum_filter(labels, 3, mode="nearest") == minimum_filter(labels, 3, mode="nearest")
    np.testing.assert_array_equal(back[alone], labels[alone])


@given(SEEDS, SHAPES, SHAPES, st.sampled_from((0, 1, 3)))
def test_images_equal_those_of_skimage(seed: int, shape: Shape, wanted: Shape, order: int) -> None:
    image, isotropic = volume(seed, shape, channels=1), (1.0, 1.0, 1.0)
    made = resize(image, wanted, spacing_from=isotropic, spacing_to=isotropic, order=order)
    expected = skimage_resize(image[0].astype(float), wanted, order, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(made[0], expected, atol=1e-5)


@given(SEEDS, SHAPES, SHAPES, st.integers(2, 12))
def test_labels_equal_votes_by_skimage(seed: int, shape: Shape, wanted: Shape, count: int) -> None:
    labels, isotropic = label_map(seed, shape, count), (1.0, 1.0, 1.0)
    made = resize_labels(labels, wanted, spacing_from=isotropic, spacing_to=isotropic)
    np.testing.assert_array_equal(made, reference(labels, wanted))


@given(SEEDS, SHAPES, SHAPES, SPACINGS, SPACINGS, st.sampled_from((1, 3)))
def test_resampling_adds_no_value_beyond_the_range_and_keeps_constants(
    seed: int, shape: Shape, wanted: Shape, before: Spacing, after: Spacing, order: int
) -> None:
    image = volume(seed, shape)
    image[1] = 7.25
    made = resize(image, wanted, spacing_from=before, spacing_to=after, order=order)
    assert made.shape == (2, *wanted)
    assert image[0].min() <= made[0].min() <= made[0].max() <= image[0].max()
    assert (made[1] == 7.25).all()


@given(SEEDS, SHAPES, SHAPES, SPACINGS, SPACINGS)
def test_only_the_order_of_label_values_matters(
    seed: int, shape: Shape, wanted: Shape, before: Spacing, after: Spacing
) -> None:
    labels = label_map(seed, shape)
    renamed = np.array([-1, 3, 40, 300], np.int16)
    made = resize_labels(labels, wanted, spacing_from=before, spacing_to=after)
    of_renamed = resize_labels(renamed[labels], wanted, spacing_from=before, spacing_to=after)
    np.testing.assert_array_equal(of_renamed, renamed[made])
    assert set(np.unique(made)) <= set(np.unique(labels))


@given(SHAPES, SPACINGS, SPACINGS)
@example((1, 5, 5), (0.4, 1.0, 1.0), (1.0, 1.0, 1.0))  # a slice that is thinner than half a voxel
def test_the_extent_stays_within_half_a_voxel(shape: Shape, before: Spacing, after: Spacing) -> None:
    for old, mm, new, target in zip(shape, before, resampled_shape(shape, before, after), after, strict=True):
        assert new >= 1
        assert new == 1 or abs(old * mm - new * target) <= target / 2 + 1e-9


@given(MASKS, st.integers(1, 2))
def test_the_nonzero_region_is_scipys_and_its_box_is_tight(mask: np.ndarray, channels: int) -> None:
    image = np.zeros((channels, *mask.shape), np.int16)
    image[-1][mask] = -3
    found = nonzero_mask(image)
    np.testing.assert_array_equal(found, binary_fill_holes(mask))
    box = as_slices(bounding_box(found))
    assert found[box].sum() == found.sum()
    for axis in range(3) if mask.any() else ():
        assert np.take(found[box], 0, axis).any()
        assert np.take(found[box], -1, axis).any()
    assert mask.any() or found[box].shape == mask.shape


@given(MASKS, SEEDS, st.permutations(range(3)), st.booleans())
def test_what_is_cropped_and_turned_comes_back_to_its_place(
    mask: np.ndarray, seed: int, order: list[int], regions: bool
) -> None:
    box = bounding_box(mask)
    labels = np.zeros(mask.shape, np.int16)
    labels[as_slices(box)] = label_map(seed, labels[as_slices(box)].shape)
    plan_order = tuple(order)
    shape = tuple(mask.shape[axis] for axis in plan_order)
    crop = tuple(box[axis] for axis in plan_order)
    after = tuple(stop - start for start, stop in crop)
    properties = CaseProperties(
        channels=1,
        geometry=Geometry(),
        transpose=plan_order,
        shape_before_crop=shape,
        crop_box=crop,
        shape=after,
        spacing=(1.0, 1.0, 1.0),
    )
    cropped = labels.transpose(plan_order)[properties.crop]
    np.testing.assert_array_equal(restore_labels(cropped, properties), labels)
    one_hot = np.stack([cropped == value for value in range(4)]).astype(np.float32)
    whole = restore_probabilities(one_hot, properties, regions=regions)
    np.testing.assert_array_equal(whole[1:], np.stack([labels == value for value in range(1, 4)]))
    if not regions:
        np.testing.assert_array_equal(whole.sum(axis=0), 1)


@given(SEEDS, st.tuples(*[st.integers(2, 7)] * 3), SPACINGS, st.sampled_from(list(permutations(range(3)))), ODD)
def test_a_case_returns_from_plan_space(
    make_plan: Callable[..., object], seed: int, shape: Shape, spacing: Spacing, order: Shape, factors: Shape
) -> None:
    labels = label_map(seed, shape)
    assume(labels.any())
    image = Image((labels > 0).astype(np.float32)[None], Geometry(spacing=spacing))
    before = tuple(spacing[axis] for axis in order)
    _, after = finer(shape, before, factors)
    plan = make_plan(after, order, ("none",))
    case = preprocess_case(image, labels, plan, plan.configurations["test"])
    properties = case.properties
    assert properties.spacing == after
    on_crop = resize_labels(
        case.labels,
        properties.shape_before_resampling,
        spacing_from=properties.spacing,
        spacing_to=properties.spacing_before_resampling,
    )
    np.testing.assert_array_equal(np.maximum(restore_labels(on_crop, properties), 0), labels)
    np.testing.assert_array_equal(restore_labels(np.ones_like(on_crop), properties) * labels, labels)
