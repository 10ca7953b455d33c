"""Resampling against scikit-image, whose interpolation is an independent one, and against known answers."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.transform import resize as skimage_resize

from autoseg.errors import ConfigurationError
from autoseg.preprocessing.resample import axis_matrix, out_of_plane_axis, resampled_shape, resize

ISOTROPIC = (1.0, 1.0, 1.0)
SHAPES = [
    ((9, 12, 7), (15, 10, 7)),
    ((5, 6, 8), (11, 13, 16)),
    ((30, 31, 33), (10, 17, 12)),
    ((1, 20, 21), (1, 33, 8)),
    ((7, 70, 150), (7, 140, 81)),  # longer than the block in which matrices are multiplied
    ((2, 3, 1), (5, 1, 4)),
]


def reference(array: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    return skimage_resize(array.astype(float), shape, order, mode="edge", anti_aliasing=False)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(("shape_in", "shape_out"), SHAPES)
def test_resize_equals_skimage(shape_in, shape_out, order):
    array = np.random.default_rng(0).normal(size=(2, *shape_in)).astype(np.float32)

    result = resize(array, shape_out, spacing_from=ISOTROPIC, spacing_to=ISOTROPIC, order=order)

    assert result.dtype == np.float32
    assert result.shape == (2, *shape_out)
    expected = np.stack([reference(channel, shape_out, order) for channel in array])
    np.testing.assert_allclose(result, expected, atol=5e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("length", [3, 6, 11])
def test_coarse_axis_takes_the_nearest_slice_and_clips_slice_by_slice(axis, length):
    rng = np.random.default_rng(axis)
    shape = [12, 12, 12]
    shape[axis] = 6
    array = rng.normal(size=shape).astype(np.float32) * np.arange(1, shape[2] + 1, dtype=np.float32)
    spacing = tuple(5.0 if i == axis else 1.0 for i in range(3))
    target = tuple(length if i == axis else 17 for i in range(3))

    result = resize(array[None], target, spacing_from=spacing, spacing_to=ISOTROPIC)[0]

    slices = [reference(part, (17, 17), 3) for part in np.moveaxis(array, axis, 0)]
    nearest = np.minimum(np.floor((np.arange(length) + 0.5) * 6 / length), 5).astype(int)
    np.testing.assert_allclose(np.moveaxis(result, axis, 0), np.stack(slices)[nearest], atol=2e-5)


def test_resize_to_the_same_shape_is_the_same_array():
    array = np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)

    assert resize(array, (4, 5, 6), spacing_from=(3, 1, 1), spacing_to=ISOTROPIC) is array


def test_cubic_overshoot_is_clipped_to_the_channel():
    step = np.zeros((2, 8, 8, 8), np.float32)
    step[0, :, :, 4:] = 1
    step[1] = 10 * step[0]

    result = resize(step, (19, 19, 19), spacing_from=ISOTROPIC, spacing_to=ISOTROPIC)

    assert result[0].min() == 0
    assert result[0].max() == 1
    assert result[1].max() == 10


def test_resize_leaves_its_input_alone():
    array = np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)
    before = array.copy()

    resize(array, (4, 9, 3), spacing_from=ISOTROPIC, spacing_to=ISOTROPIC)

    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(("length_in", "length_out"), [(1, 4), (5, 5), (8, 3), (9, 40)])
def test_rows_of_an_axis_matrix_sum_to_one(length_in, length_out, order):
    matrix = axis_matrix(length_in, length_out, order)

    assert matrix.shape == (length_out, length_in)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_axis_matrix_of_equal_lengths_is_the_identity(order):
    # the spline prefilter starts twelve samples beyond the edge: 0.27 ** 12 of it is left
    np.testing.assert_allclose(axis_matrix(7, 7, order), np.eye(7), atol=1e-6)


def test_cubic_axis_matrix_equals_fixed_numbers_of_skimage():
    # skimage.transform.resize of scikit-image 0.26, order=3, mode="edge", anti_aliasing=False
    samples = np.array([0.0, 4.0, 1.0, 9.0, 2.0])
    expected = [0.0, 2.22312579, 3.89550555, 1.08225317, 3.30994515, 8.85081011, 5.81799135, 1.21374824]

    result = axis_matrix(5, 8, 3) @ samples

    np.testing.assert_allclose(np.clip(result, 0, 9), expected, atol=1e-7)


@pytest.mark.parametrize("arguments", [(4, 4, 2), (0, 4, 1), (4, 0, 1)])
def test_axis_matrix_refuses_what_it_cannot_do(arguments):
    with pytest.raises(ConfigurationError, match=r"order of interpolation|empty axis"):
        axis_matrix(*arguments)


@pytest.mark.parametrize(
    ("spacing_from", "spacing_to", "axis"),
    [
        ((3.1, 1, 1), (1, 1, 1), 0),
        ((3.0, 1, 1), (1, 1, 1), None),
        ((1, 1, 1), (1, 1, 6), 2),
        ((1, 7, 1), (6, 1, 1), 1),  # the source decides
        ((4, 4, 1), (9, 1, 1), None),  # two coarse axes have no plane
        ((999, 0.5, 0.5), (999, 1, 1), 0),  # a plane image
    ],
)
def test_out_of_plane_axis(spacing_from, spacing_to, axis):
    assert out_of_plane_axis(spacing_from, spacing_to) == axis


def test_resampled_shape_rounds_half_to_even():
    assert resampled_shape((5, 10, 3), (0.5, 0.7, 2.0), (1.0, 1.0, 1.0)) == (2, 7, 6)
