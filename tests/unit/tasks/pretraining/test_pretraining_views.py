"""Views: sizes in mm, overlaps, turned and mirrored voxels, grids of base crops, and the presets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from blob_images import blobs, read_box

from autoseg.batches.augment.transform import Transform
from autoseg.errors import ConfigurationError
from autoseg.tasks.pretraining.cutting import cut, region_of
from autoseg.tasks.pretraining.drawing import base_grid, grid_and_crop, multi_crop, overlap_shares, two_views
from autoseg.tasks.pretraining.presets import PRESETS, ViewPreset, kind_of_image, preset
from autoseg.tasks.pretraining.views import (
    Crop,
    Frame,
    View,
    around,
    draw_crop,
    draw_pair,
    draw_view,
    overlap,
    overlap_share,
    plain_view,
    whole,
)

STILL = ViewPreset(disregards="nothing", rotation_probability=0, flips="none")
FRAMES = [Frame((16, 16), (1.0, 1.0)), Frame((16, 20, 24), (1.0, 0.8, 0.8)), Frame((8, 32, 32), (5.0, 0.7, 0.7))]


def _voxels(crop: Crop, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(max(0, a), max(0, a + n)) for a, n in zip(crop.start, crop.size, strict=True))] = True
    return mask


def test_overlaps_are_counts_of_shared_voxels() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, other = (Crop(tuple(rng.integers(0, 6, 3).tolist()), tuple(rng.integers(1, 6, 3).tolist())) for _ in "ab")
        a, b = (_voxels(crop, (12, 12, 12)) for crop in (one, other))
        assert overlap(one, other) == overlap(other, one) == (a & b).sum()
        assert overlap_share(one, other) == pytest.approx((a & b).sum() / min(a.sum(), b.sum()))
        assert overlap(around([one, other]), one) == one.voxels


@pytest.mark.parametrize("frame", FRAMES)
def test_crops_are_scaled_copies_of_the_patch_in_mm(frame: Frame) -> None:
    rng, shape = np.random.default_rng(0), tuple(3 * n for n in frame.size)
    shares = []
    for _ in range(100):
        crop = draw_crop(rng, whole(shape), frame, (0.5, 1.5))
        zooms = np.divide(crop.size, frame.size)
        free = list(frame.free)
        assert np.ptp(zooms[free]) <= 1.1 / min(frame.size)  # alike up to whole voxels
        assert all(zooms[axis] == 1 for axis in range(len(zooms)) if axis not in free)
        assert _voxels(crop, shape).sum() == crop.voxels  # inside the image
        shares.append(zooms.prod())
    assert 0.4 < min(shares) < 0.65
    assert 1.35 < max(shares) < 1.65


def test_thick_slices_are_neither_scaled_nor_turned() -> None:
    frame, rng = FRAMES[2], np.random.default_rng(0)
    assert frame.free == (1, 2)
    view = draw_view(rng, Crop((0, 0, 0), (8, 40, 40)), frame, STILL.with_(rotation_probability=1.0), 1)
    assert view.matrix[0] == (1.0, 0.0, 0.0)
    assert view.matrix[1][0] == view.matrix[2][0] == 0.0
    assert view.matrix[1][2] != 0.0


def test_rotations_keep_lengths_in_mm() -> None:
    frame = Frame((16, 16, 16), (2.0, 1.0, 1.5))
    rng = np.random.default_rng(0)
    view = draw_view(rng, Crop((0, 0, 0), (16, 16, 16)), frame, STILL.with_(rotation_probability=1.0), 1)
    scale = np.diag(frame.spacing)
    in_mm = scale @ np.asarray(view.matrix) @ np.linalg.inv(scale)
    np.testing.assert_allclose(in_mm @ in_mm.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(in_mm) == pytest.approx(1)
    assert not np.allclose(in_mm, np.eye(3))


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("times", [0.6, 1.0, 4.0])
def test_pairs_overlap_as_much_as_asked(frame: Frame, times: float) -> None:
    rng, shape = np.random.default_rng(0), tuple(round(times * n) for n in frame.size)
    for least in (0.0, 0.4, 0.95, 1.0):
        for _ in range(20):
            assert overlap_share(*draw_pair(rng, whole(shape), frame, (0.5, 1.5), least)) >= least


def test_small_views_lie_within_a_large_one() -> None:
    rng, frames = np.random.default_rng(0), (Frame((16, 16, 16), (1.0,) * 3), Frame((8, 8, 8), (1.0,) * 3))
    for _ in range(10):
        views = multi_crop(rng, (40, 40, 40), frames, preset("ct"), 1, 4)
        assert [view.size for view in views] == [(16,) * 3] * 2 + [(8,) * 3] * 4
        for small in views[2:]:
            assert max(overlap(small.crop, large.crop) for large in views[:2]) == small.crop.voxels


def test_a_view_that_does_nothing_is_the_image() -> None:
    image = blobs(np.random.default_rng(0), (12, 14, 10), 2)
    view = plain_view(Crop((2, 3, -1), (8, 8, 8)), (8, 8, 8))
    region = region_of([view])
    assert region == view.crop
    found = cut(read_box(image, region), region, view)
    assert np.array_equal(found.numpy(), read_box(image, view.crop))
    assert not found[..., 0].any()  # beyond the image


@pytest.mark.parametrize("dimension", [2, 3])
def test_turned_scaled_and_mirrored_views_of_a_linear_image(dimension: int) -> None:
    """A linear image is interpolated without error, so that every voxel tells where it was taken."""
    rng, slopes = np.random.default_rng(0), np.array([1.0, -2.0, 3.0])[:dimension]
    image = np.tensordot(slopes, np.indices((40,) * dimension), 1)[None].astype(np.float32)
    frame = Frame((9, 8, 10)[:dimension], (1.0, 1.4, 0.8)[:dimension])
    options = preset("mr").with_(transforms=(), rotation_probability=1.0)
    for _ in range(5):
        crop = draw_crop(rng, Crop((14,) * dimension, (12,) * dimension), frame, (0.5, 1.5))
        view = draw_view(rng, crop, frame, options, 1)
        region = region_of([view])
        found = cut(read_box(image, region), region, view)
        assert found.shape == (1, *frame.size)
        offsets = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in frame.size), indexing="ij"))
        offsets[list(view.flips)] *= -1
        places = np.tensordot(np.asarray(view.matrix), offsets, 1) + np.reshape(crop.centre, (-1,) + (1,) * dimension)
        np.testing.assert_allclose(found[0].numpy(), np.tensordot(slopes, places, 1), atol=1e-3)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_change_views_but_not_their_shape(name: str) -> None:
    options, rng = preset(name), np.random.default_rng(0)
    assert options.disregards
    assert all(isinstance(step.transform, Transform) for step in options.policy.steps)
    for shape, frame in (((30, 30), FRAMES[0]), ((12, 40, 40), FRAMES[2])):
        image = blobs(np.random.default_rng(1), shape, 2)
        views = two_views(rng, shape, frame, options, 2)
        region = region_of(views)
        made = [cut(read_box(image, region), region, view, options.policy) for view in views]
        again = [cut(read_box(image, region), region, view, options.policy) for view in views]
        assert all(view.shape == (2, *frame.size) and bool(view.isfinite().all()) for view in made)
        assert all(torch.equal(one, same) for one, same in zip(made, again, strict=True))
        assert not torch.equal(*made)


def test_what_must_not_be_mirrored_is_not() -> None:
    rng = np.random.default_rng(0)
    flips = {draw_view(rng, Crop((0, 0), (16, 16)), FRAMES[0], preset("x-ray"), 1).flips for _ in range(40)}
    assert flips == {(), (1,)}
    assert preset("ct").flip_axes(3) == (0, 1, 2)
    assert preset("ct").with_(flips="none").flip_axes(3) == ()


@pytest.mark.parametrize(
    ("channels", "kind"),
    [
        (["CT"], "ct"), (["PET", "CT"], "ct"), (["T1", "T1ce", "T2", "FLAIR"], "mr"), (["MRI"], "mr"),
        (["R", "G", "B"], "microscopy"), (["red", "green", "blue"], "microscopy"), (["x-ray"], "x-ray"),
        (["t2_w", "adc"], "mr"), (["intensity"], "other"), ([], "other"), (["pet_suv"], "pet"), (["direct"], "other"),
    ],
)  # fmt: skip
def test_the_kind_of_image_from_channel_names(channels: list[str], kind: str) -> None:
    assert kind_of_image(channels) == kind


def test_unknown_kinds_and_wrong_ranges() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'microscopy'"):
        preset("microscpy")
    with pytest.raises(ValueError, match="is more than"):
        ViewPreset(disregards="nothing", scale=(2.0, 1.0))


@pytest.mark.parametrize("shape", [(32, 40), (12, 40), (20, 24, 28), (7, 9, 50)])
def test_a_crop_lies_wholly_in_its_bases(shape: tuple[int, ...]) -> None:
    d, rng = len(shape), np.random.default_rng(0)
    frame, counts = Frame((16,) * d, (1.0,) * d), (2,) * d
    for _ in range(20):
        views, shares = grid_and_crop(rng, shape, frame, (8,) * d, counts, STILL, 1)
        *bases, crop = (view.crop for view in views)
        assert len(bases) == 2**d
        assert {view.size for view in views} == {(8,) * d}
        assert shares.sum() == pytest.approx(1)
        voxels = [_voxels(base, shape) for base in bases]
        assert np.sum(voxels, axis=0).max() == 1  # bases do not meet
        inside = _voxels(crop, shape)
        assert shares == pytest.approx([(inside & base).sum() / inside.sum() for base in voxels])


def test_base_crops_themselves_have_a_share_of_one() -> None:
    bases = base_grid(Crop((3, -2), (9, 8)), (2, 2))
    assert [base.start for base in bases] == [(3, -2), (3, 2), (7, -2), (7, 2)]
    assert np.array_equal([overlap_shares(base, bases) for base in bases], np.eye(4, dtype=np.float32))


def test_the_reach_of_a_turned_view_holds_its_corners() -> None:
    view = View(Crop((0, 0), (8, 8)), (8, 8), ((0.0, -1.5), (1.5, 0.0)))
    assert view.reach.start == (-3, -3)
    assert view.reach.size == (14, 14)
