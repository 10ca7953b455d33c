"""Transforms of samples of any shape: what they leave alone, what undoes them, and their twins for whole batches."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from autoseg.batches.augment.batched_spatial import crop
from autoseg.batches.augment.cascade import apply_ball
from autoseg.batches.augment.intensity import Brightness, Contrast, Gamma, GaussianBlur, GaussianNoise, LowResolution
from autoseg.batches.augment.on_device import TWINS, moved, stack_boxes
from autoseg.batches.augment.policy import Policy, Step
from autoseg.batches.augment.spatial import Mirror, MirrorParameters, Spatial, SpatialParameters
from autoseg.batches.augment.transform import PatchBox, Sample, Shape, patch_box
from autoseg.data.labels import OUTSIDE

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.lists(st.integers(2, 9), min_size=2, max_size=3).map(tuple)
THIN = st.lists(st.integers(1, 12), min_size=2, max_size=3).map(tuple).filter(lambda shape: max(shape) > 1)
FACTORS = st.tuples(st.floats(0.5, 1), st.floats(1, 2))
ZOOMS = st.tuples(st.floats(0.2, 0.5), st.floats(0.5, 1))
SAMPLES = 4


def sample(seed: int, shape: Shape, channels: int = 2) -> Sample:
    rng = np.random.default_rng(seed)
    image = rng.normal(3, 2, (channels, *shape)).astype(np.float32)
    return Sample(torch.from_numpy(image), torch.from_numpy(rng.integers(-1, 4, (1, *shape)).astype(np.int16)))


def clone(one: Sample) -> Sample:
    return Sample(one.image.clone(), one.labels.clone())


def parameters(matrix: Any) -> SpatialParameters:
    return SpatialParameters(tuple(tuple(map(float, row)) for row in matrix))


def subsets(count: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.sets(st.integers(0, count - 1)).map(lambda axes: tuple(sorted(axes)))


@given(st.data(), SEEDS, THIN)
def test_mirroring_twice_gives_the_sample_back(data: st.DataObject, seed: int, shape: Shape) -> None:
    axes = data.draw(subsets(len(shape)))
    given_one = sample(seed, shape)
    once = Mirror().apply(clone(given_one), MirrorParameters(axes))
    np.testing.assert_array_equal(once.image, np.flip(given_one.image.numpy(), [axis + 1 for axis in axes]))
    np.testing.assert_array_equal(once.labels, np.flip(given_one.labels.numpy(), [axis + 1 for axis in axes]))
    twice = Mirror().apply(once, MirrorParameters(axes))
    assert torch.equal(twice.image, given_one.image)
    assert torch.equal(twice.labels, given_one.labels)


@given(st.data(), SEEDS, st.integers(1, 3))
def test_only_axes_that_may_be_are_mirrored(data: st.DataObject, seed: int, dimension: int) -> None:
    allowed = data.draw(subsets(dimension))
    drawn = Mirror(axes=allowed).draw(np.random.default_rng(seed), (1, *(4,) * dimension))
    assert drawn is None or (drawn.axes and set(drawn.axes) <= set(allowed))


@given(SEEDS, SHAPES, st.booleans())
def test_the_identity_leaves_a_sample_alone(seed: int, shape: Shape, planar: bool) -> None:
    whole = sample(seed, shape)
    made = Spatial(dummy_2d=planar).apply(clone(whole), parameters(np.eye(2 if planar else len(shape))))
    torch.testing.assert_close(made.image, whole.image, atol=1e-5, rtol=0)
    assert torch.equal(made.labels, whole.labels)


@given(SEEDS, st.lists(st.sampled_from((2, 3, 4, 5, 12, 13)), min_size=2, max_size=3).map(tuple), st.booleans())
def test_the_identity_cuts_the_patch_out_of_its_box(seed: int, shape: Shape, planar: bool) -> None:
    same = parameters(np.eye(2 if planar else len(shape)))
    spatial = Spatial(rotation_degrees=0, dummy_2d=planar)
    # else the middles of window and patch lie half a voxel apart, as nnU-Net's do
    assert all((outer - n) % 2 == 0 for outer, n in zip(spatial.window(shape), shape, strict=True))
    box, patch = spatial.box(same, shape), patch_box(shape)
    read = sample(seed, box.size)
    inner = tuple(slice(p - b, p - b + n) for p, b, n in zip(patch.start, box.start, shape, strict=True))
    made = Policy((Step(spatial),)).apply(clone(read), [same], box, shape)
    torch.testing.assert_close(made.image, read.image[(slice(None), *inner)], atol=1e-5, rtol=0)
    assert torch.equal(made.labels, read.labels[(slice(None), *inner)])


TURNS = [
    np.eye(3)[list(order)] * np.array(signs)[:, None]
    for order, signs in product(permutations(range(3)), product((-1, 1), repeat=3))
]
"""All ways to lay a cube on itself."""


@given(SEEDS, st.integers(2, 9), st.sampled_from(TURNS))
def test_quarter_turns_move_whole_voxels(seed: int, length: int, matrix: np.ndarray) -> None:
    whole = sample(seed, (length,) * 3)
    middle = (length - 1) / 2
    places = np.indices((length,) * 3) - middle
    source = tuple(np.rint(np.tensordot(matrix, places, 1) + middle).astype(int))
    made = Spatial().apply(clone(whole), parameters(matrix))
    np.testing.assert_allclose(made.image, whole.image.numpy()[:, *source], atol=1e-4)
    np.testing.assert_array_equal(made.labels, whole.labels.numpy()[:, *source])


@given(SEEDS, SEEDS, SHAPES)
def test_turning_invents_neither_values_nor_labels(seed: int, draw: int, shape: Shape) -> None:
    spatial = Spatial(rotation_probability=1, scaling_probability=1, rotation_degrees=180)
    drawn = spatial.draw(np.random.default_rng(draw), (1, *shape))
    whole = sample(seed, shape)
    made = spatial.apply(clone(whole), drawn)
    assert made.image.shape == whole.image.shape
    assert set(made.labels.unique().tolist()) <= {OUTSIDE, *whole.labels.unique().tolist()}
    for before, after in zip(whole.image, made.image, strict=True):
        assert min(0.0, float(before.min())) - 1e-5 <= float(after.min())
        assert float(after.max()) <= max(0.0, float(before.max())) + 1e-5


CHANGES = st.one_of(
    st.builds(GaussianBlur, sigma=st.tuples(st.floats(0.3, 1), st.floats(1, 3))),
    st.builds(Brightness, factor=FACTORS),
    st.builds(Contrast, factor=FACTORS),
    st.builds(LowResolution, zoom=ZOOMS, dummy_2d=st.booleans()),
    st.builds(Gamma, gamma=FACTORS, invert=st.booleans()),
)


@given(CHANGES | st.just(Mirror(axes=(0, 1))), SEEDS, THIN, st.integers(1, 3))
def test_a_batch_is_changed_as_its_samples_are(transform: Any, seed: int, shape: Shape, channels: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [sample(seed + i, shape, channels) for i in range(SAMPLES)]
    samples[0].image[0] = 4.0  # a constant channel
    drawn = [transform.draw(rng, (channels, *shape)) if rng.random() < 0.8 else None for _ in samples]
    packed = TWINS[type(transform)].pack(transform, drawn, (channels, *shape))
    image, labels = torch.stack([one.image for one in samples]), torch.stack([one.labels for one in samples])
    if packed is not None:
        TWINS[type(transform)].apply(image, labels, *moved(packed, torch.Tensor.contiguous))
    for i, (one, how) in enumerate(zip(samples, drawn, strict=True)):
        expected = one if how is None else transform.apply(clone(one), how)
        torch.testing.assert_close(image[i], expected.image, atol=1e-4, rtol=0)
        assert torch.equal(labels[i], expected.labels)


@given(SEEDS, SHAPES, st.booleans())
def test_boxes_of_a_batch_are_cropped_as_single_ones(seed: int, patch: Shape, planar: bool) -> None:
    spatial = Spatial(rotation_probability=1, scaling_probability=1, rotation_degrees=90, dummy_2d=planar)
    rng = np.random.default_rng(seed)
    read: list[tuple[Sample, SpatialParameters, PatchBox]] = []
    for number in range(SAMPLES):
        drawn = spatial.draw(rng, (2, *patch))
        assert drawn is not None
        box = spatial.box(drawn, patch)
        read.append((sample(seed + number, box.size), drawn, box))
    boxes = stack_boxes(read)
    matrices, centres = torch.as_tensor(boxes.matrices), torch.as_tensor(boxes.centres)
    image, labels = crop(boxes.image, boxes.labels, matrices, centres, patch)
    for i, (part, drawn, box) in enumerate(read):
        expected = spatial.crop(clone(part), drawn, box, patch)
        torch.testing.assert_close(image[i], expected.image, atol=1e-3, rtol=0)
        one, other = expected.labels[0].numpy(), labels[i, 0].numpy()
        differs = np.argwhere(one != other)
        votes = _shares(boxes.labels[i, 0].numpy(), drawn, box, differs, patch)
        for share, voxel in zip(votes, map(tuple, differs), strict=True):
            # single precision may decide otherwise where two labels have equal shares
            assert abs(share[one[voxel] + 1] - share[other[voxel] + 1]) < 1e-3


def _shares(
    labels: np.ndarray, drawn: SpatialParameters, box: PatchBox, voxels: np.ndarray, patch: Shape
) -> np.ndarray:
    """(n, 5) linear shares of the labels -1 to 3 at voxels (n, d) of a patch, in double precision."""
    matrix = np.eye(len(patch))
    matrix[-len(drawn.matrix) :, -len(drawn.matrix) :] = drawn.matrix
    place = np.asarray(box.centre) + (voxels - (np.asarray(patch) - 1) / 2) @ matrix.T
    place = np.clip(place, 0, np.asarray(box.size) - 1)
    low = np.floor(place).astype(int)
    votes = np.zeros((len(voxels), 5))
    for bits in product((0, 1), repeat=len(patch)):
        weight = np.where(bits, place - low, 1 - (place - low)).prod(axis=1)
        corner = np.minimum(low + bits, np.asarray(box.size) - 1)
        votes[np.arange(len(voxels)), labels[tuple(corner.T)] + 1] += weight
    return votes


@given(CHANGES | st.just(GaussianNoise()), SEEDS, SHAPES)
def test_equal_parameters_do_the_same_to_the_image_and_nothing_to_the_labels(
    transform: Any, seed: int, shape: Shape
) -> None:
    whole = sample(seed, shape)
    drawn = transform.draw(np.random.default_rng(seed), (2, *shape))
    assume(drawn is not None)
    first, second = transform.apply(clone(whole), drawn), transform.apply(clone(whole), drawn)
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.labels, whole.labels)
    assert torch.isfinite(first.image).all()


@given(SEEDS, SHAPES, FACTORS)
def test_brightness_is_undone_by_the_inverse_factors(seed: int, shape: Shape, factors: tuple[float, float]) -> None:
    transform, whole = Brightness(factor=factors), sample(seed, shape)
    drawn = transform.draw(np.random.default_rng(seed), (2, *shape))
    there = transform.apply(clone(whole), drawn)
    back = transform.apply(there, type(drawn)(tuple(1 / factor for factor in drawn.factors)))
    torch.testing.assert_close(back.image, whole.image, atol=1e-5, rtol=1e-5)


@given(SEEDS, SHAPES, FACTORS, st.booleans())
def test_gamma_keeps_order_mean_and_deviation(
    seed: int, shape: Shape, gamma: tuple[float, float], invert: bool
) -> None:
    transform, whole = Gamma(gamma=gamma, invert=invert), sample(seed, shape)
    made = transform.apply(clone(whole), transform.draw(np.random.default_rng(seed), (2, *shape)))
    for before, after in zip(whole.image.flatten(1), made.image.flatten(1), strict=True):
        assert (after[before.argsort()].diff() >= -1e-5).all()
        torch.testing.assert_close(after.mean(), before.mean(), atol=1e-4, rtol=0)
        torch.testing.assert_close(after.std(), before.std(), atol=1e-3, rtol=0)


@given(
    st.one_of(
        st.builds(GaussianBlur, channel_probability=st.just(1.0)),
        st.builds(
            LowResolution, zoom=st.tuples(st.floats(0.2, 0.5), st.floats(0.5, 1)), channel_probability=st.just(1.0)
        ),
        st.builds(Contrast, factor=FACTORS),
    ),
    SEEDS,
    SHAPES,
)
def test_averages_stay_within_the_range_and_keep_constants(transform: Any, seed: int, shape: Shape) -> None:
    whole = sample(seed, shape)
    whole.image[1] = -2.5
    made = transform.apply(clone(whole), transform.draw(np.random.default_rng(seed), (2, *shape)))
    torch.testing.assert_close(made.image[1], whole.image[1])
    assert float(whole.image[0].min()) - 1e-5 <= float(made.image[0].min())
    assert float(made.image[0].max()) <= float(whole.image[0].max()) + 1e-5


@given(SEEDS, THIN, st.floats(0, 1), st.floats(0, 4))
def test_balls_grow_and_shrink_each_others_complement(seed: int, shape: Shape, share: float, radius: float) -> None:
    mask = np.random.default_rng(seed).random(shape) < share**3  # often only a voxel or two
    grown, shrunk, closed, opened = (
        apply_ball(mask, operation, radius) for operation in ("dilation", "erosion", "closing", "opening")
    )
    reach = int(radius)
    axes = np.meshgrid(*[np.arange(-reach, reach + 1)] * mask.ndim, indexing="ij")
    ball = sum(axis**2 for axis in axes) <= radius**2
    np.testing.assert_array_equal(grown, binary_dilation(mask, ball))
    np.testing.assert_array_equal(shrunk, ~apply_ball(~mask, "dilation", radius))
    for smaller, larger in ((shrunk, opened), (opened, mask), (mask, closed), (closed, grown)):
        assert not (smaller & ~larger).any()
