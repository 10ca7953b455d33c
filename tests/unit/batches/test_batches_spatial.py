"""Rotation, scaling and mirroring, against scipy, numpy and nnU-Net's fixed numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform, gaussian_filter

from autoseg.batches.augment.spatial import (
    Mirror,
    MirrorParameters,
    Spatial,
    SpatialParameters,
    rotation,
    window_size,
)
from autoseg.batches.augment.transform import Sample

RNG = np.random.default_rng(5)


def sample(shape, channels=2, values=3):
    image = gaussian_filter(RNG.standard_normal((channels, *shape)), (0, *[1] * len(shape))).astype(np.float32)
    scores = gaussian_filter(RNG.standard_normal((values, *shape)), (0, *[2] * len(shape)))
    return Sample(torch.from_numpy(image), torch.from_numpy(scores.argmax(0).astype(np.int16))[None])


def parameters(matrix):
    return SpatialParameters(tuple(tuple(float(v) for v in row) for row in matrix))


def by_scipy(array, matrix, order=1, cval=0.0):
    """The array sampled at middle + matrix @ (p - middle), linear, constant beyond."""
    middle = (np.array(array.shape) - 1) / 2
    padded = np.pad(array, 1, constant_values=cval).astype(np.float64)  # scipy's own border does not fade
    return affine_transform(padded, matrix, middle - matrix @ middle + 1, array.shape, order=order, cval=cval)


# nnU-Net v2.8.1: get_patch_size(patch, rotation, rotation, rotation, (0.85, 1.25)), first axis kept for dummy 2D
@pytest.mark.parametrize(
    ("patch", "degrees", "dummy_2d", "window"),
    [
        ((40, 56, 40), 30, False, (73, 80, 64)),
        ((16, 20, 16), 30, False, (28, 29, 25)),
        ((6, 24, 20), 180, True, (6, 28, 28)),
        ((24, 28), 180, False, (32, 32)),
        ((128, 128, 128), 30, False, (205, 205, 205)),
    ],
)
def test_the_window_is_nnunets_initial_patch(patch, degrees, dummy_2d, window):
    assert window_size(patch, degrees, dummy_2d=dummy_2d) == window


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_quarter_turn_about_an_axis_equals_rot90(axis):
    given = sample((15, 15, 15))
    angles = np.zeros(3)
    angles[axis] = np.pi / 2
    turned = Spatial().apply(given, parameters(rotation(angles)))
    plane = [(1, 2), (2, 0), (0, 1)][axis]
    expected = np.rot90(given.image.numpy(), -1, axes=[p + 1 for p in plane])
    assert np.allclose(turned.image.numpy(), expected, atol=1e-5)
    assert np.array_equal(turned.labels.numpy(), np.rot90(given.labels.numpy(), -1, axes=[p + 1 for p in plane]))


@pytest.mark.parametrize("shape", [(9, 14, 11), (21, 18)])
def test_the_identity_changes_nothing(shape):
    given = sample(shape)
    same = Spatial().apply(given, parameters(np.eye(len(shape))))
    assert np.allclose(same.image.numpy(), given.image.numpy(), atol=1e-6)
    assert torch.equal(same.labels, given.labels)


@pytest.mark.parametrize("values", [2, 3, 12])
@pytest.mark.parametrize(
    ("shape", "matrix"),
    [
        ((18, 22, 20), rotation(np.array([0.3, -0.2, 0.5])) * 1.2),
        ((18, 22, 20), np.eye(3) * 0.7),
        ((40, 33), rotation(np.array([2.0])) * 0.9),
    ],
    ids=["rotated", "scaled", "plane"],
)
def test_sampling_equals_scipys_and_labels_are_the_largest_interpolated_share(shape, matrix, values):
    given = sample(shape, values=values)
    made = Spatial().apply(given, parameters(matrix))
    for channel, result in zip(given.image.numpy(), made.image.numpy(), strict=True):
        assert np.allclose(result, by_scipy(channel, matrix), atol=2e-4)
    labels = given.labels[0].numpy()
    shares = np.stack([by_scipy(labels == v, matrix, cval=float(v == -1)) for v in range(-1, values)])
    winner = shares.argmax(0) - 1
    ordered = np.sort(shares, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-3
    assert clear.mean() > 0.98
    assert np.array_equal(made.labels[0].numpy()[clear], winner[clear])


def test_planar_maps_treat_each_slice_alone():
    given = sample((4, 22, 20))
    matrix = rotation(np.array([0.7])) * 1.1
    made = Spatial(dummy_2d=True).apply(given, parameters(matrix))
    for z in range(4):
        alone = Spatial().apply(Sample(given.image[:, z], given.labels[:, z]), parameters(matrix))
        assert torch.equal(made.image[:, z], alone.image)
        assert torch.equal(made.labels[:, z], alone.labels)


def test_a_larger_scale_shows_smaller_objects():
    labels = torch.zeros(1, 31, 31, 31, dtype=torch.int16)
    labels[:, 10:21, 10:21, 10:21] = 1
    given = Sample(labels.float(), labels)
    counts = [int((Spatial().apply(given, parameters(np.eye(3) * s)).labels == 1).sum()) for s in (0.7, 1.0, 1.4)]
    assert counts[0] > counts[1] == 11**3 > counts[2]


@pytest.mark.parametrize(
    "matrix", [rotation(np.array([0.1, 0.0, 0.2])) * 0.8, rotation(np.array([0.5, 0.5, -0.5])) * 1.4]
)
def test_the_box_that_is_read_gives_what_the_whole_window_gives(matrix):
    """Only what is needed is read, and what lies beyond the window stays unseen."""
    patch = (12, 10, 14)
    spatial, drawn = Spatial(), parameters(matrix)
    window, box = spatial.window(patch), spatial.box(drawn, patch)
    margin = 3
    world = sample([w + 2 * margin for w in window])
    low = [margin + w // 2 + s for w, s in zip(window, box.start, strict=True)]
    part = (slice(None), *(slice(s, s + n) for s, n in zip(low, box.size, strict=True)))
    read = Sample(world.image[part].contiguous(), world.labels[part].contiguous())
    made = spatial.crop(read, drawn, box, patch)

    inner = (slice(None), *(slice(margin, margin + w) for w in window))
    turned = Spatial().apply(Sample(world.image[inner].contiguous(), world.labels[inner].contiguous()), drawn)
    odd = [w % 2 == n % 2 for w, n in zip(window, patch, strict=True)]
    assert made.image.shape[1:] == patch
    if all(odd):
        middle = (slice(None), *(slice((w - n) // 2, (w - n) // 2 + n) for w, n in zip(window, patch, strict=True)))
        assert torch.allclose(made.image, turned.image[middle], atol=2e-5)
    # independent of parity: every value by scipy from the window, the rest of the world cut off
    offset = (np.array(window) - 1) / 2 - matrix @ ((np.array(patch) - 1) / 2) + 1
    padded = np.pad(world.image[inner].numpy()[0], 1)
    expected = affine_transform(padded.astype(np.float64), matrix, offset, patch, order=1)
    assert np.allclose(made.image[0].numpy(), expected, atol=2e-4)


def test_without_a_map_exactly_the_patch_is_read():
    box = Spatial().box(None, (12, 9, 14))
    assert (box.start, box.size) == ((-6, -4, -7), (12, 9, 14))


def test_image_and_labels_stay_aligned():
    labels = sample((20, 20, 20), values=2).labels
    given = Sample(labels.float(), labels)
    made = Spatial().apply(given, parameters(rotation(np.array([0.4, 0.1, 0.2])) * 1.1))
    inside = made.labels[0] >= 0
    clear = inside & ((made.image[0] - 0.5).abs() > 1e-3)
    # near the border the image fades to 0 while the labels go on to their own border
    core = torch.zeros_like(clear)
    core[4:-4, 4:-4, 4:-4] = True
    assert torch.equal((made.image[0] > 0.5)[clear & core], (made.labels[0] == 1)[clear & core])


def test_drawn_maps_have_nnunets_probabilities_and_ranges():
    drawn = [Spatial().draw(np.random.default_rng((7, n)), (1, 16, 20, 16)) for n in range(6000)]
    assert np.mean([d is not None for d in drawn]) == pytest.approx(1 - 0.8**2, abs=0.02)
    matrices = [np.array(d.matrix) for d in drawn if d is not None]
    scales = np.array([np.linalg.det(m) ** (1 / 3) for m in matrices])
    scaled = scales[np.abs(scales - 1) > 1e-9]
    assert len(scaled) / len(drawn) == pytest.approx(0.2, abs=0.02)
    assert np.allclose(np.quantile(scaled, [0, 0.25, 0.5, 0.75, 1]), [0.7, 0.875, 1.05, 1.225, 1.4], atol=0.03)
    turned = [m / s for m, s in zip(matrices, scales, strict=True) if abs(m[0, 1]) > 1e-12]
    assert len(turned) / len(drawn) == pytest.approx(0.2, abs=0.02)
    # Rz Ry Rx: its entry (2, 0) is -sin of the angle about axis 1
    angles = np.degrees(np.arcsin([-m[2, 0] for m in turned]))
    assert np.allclose(np.quantile(angles, [0, 0.25, 0.5, 0.75, 1]), [-30, -15, 0, 15, 30], atol=2)


def test_mirroring_twice_is_the_identity_and_once_equals_flip():
    given = sample((7, 8, 9))
    once = Mirror().apply(given, MirrorParameters((0, 2)))
    assert np.array_equal(once.image.numpy(), np.flip(given.image.numpy(), (1, 3)))
    twice = Mirror().apply(once, MirrorParameters((0, 2)))
    assert torch.equal(twice.image, given.image)
    assert torch.equal(twice.labels, given.labels)


def test_each_axis_is_mirrored_half_the_time_and_only_allowed_ones():
    drawn = [Mirror(axes=(0, 2)).draw(np.random.default_rng(n), (1, 4, 4, 4)) for n in range(3000)]
    axes = [d.axes if d else () for d in drawn]
    assert np.mean([0 in a for a in axes]) == pytest.approx(0.5, abs=0.04)
    assert np.mean([a == (0, 2) for a in axes]) == pytest.approx(0.25, abs=0.04)
    assert not any(1 in a for a in axes)
