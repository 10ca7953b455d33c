"""Right-angle rotations: a group of 4 or 24, exact voxels, and none that spacing would give away."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from blob_images import setting

from autoseg.tasks.pretraining.methods.rotation import Rotation
from autoseg.tasks.pretraining.rotations import possible_turns, right_angles


@pytest.mark.parametrize(("dimension", "count"), [(2, 4), (3, 24)])
def test_rotations_are_a_group_without_reflections(dimension: int, count: int) -> None:
    turns = right_angles(dimension)
    matrices = {turn.matrix.tobytes() for turn in turns}
    assert len(turns) == len(matrices) == count
    assert np.array_equal(turns[0].matrix, np.eye(dimension))
    for one in turns:
        assert np.linalg.det(one.matrix) == pytest.approx(1)
        for other in turns:
            assert (one.matrix @ other.matrix + 0.0).tobytes() in matrices


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_turn_moves_voxels_as_its_matrix_says(dimension: int) -> None:
    shape = (3, 4, 5)[:dimension]
    image = torch.arange(float(np.prod(shape))).view(1, *shape)
    for turn in right_angles(dimension):
        turned = turn.apply(image)
        assert turned.shape[1:] == tuple(shape[axis] for axis in turn.axes)
        for place in np.ndindex(*turned.shape[1:]):
            offset = np.asarray(place) - (np.asarray(turned.shape[1:]) - 1) / 2
            source = np.rint(turn.matrix @ offset + (np.asarray(shape) - 1) / 2).astype(int)
            assert turned[(0, *place)] == image[(0, *source)]


def test_turns_of_a_square_are_numpys() -> None:
    image = np.random.default_rng(0).random((1, 5, 5))
    mine = {turn.apply(torch.from_numpy(image)).numpy().tobytes() for turn in right_angles(2)}
    assert mine == {np.ascontiguousarray(np.rot90(image, k, (1, 2))).tobytes() for k in range(4)}


@pytest.mark.parametrize(
    ("spacing", "count"), [((1, 1), 4), ((1, 2), 2), ((1, 1, 1.2), 24), ((5, 0.7, 0.7), 8), ((1, 2, 4), 4)]
)
def test_axes_of_unlike_spacing_are_not_exchanged(spacing: tuple[float, ...], count: int) -> None:
    assert len(possible_turns(spacing)) == count


def test_views_are_as_long_along_exchanged_axes_and_whole_blocks() -> None:
    cube = Rotation(setting=setting(3, patch_size=(16, 20, 24)))
    assert cube.size == (16, 16, 16)
    assert len(cube.turns) == 24
    flat = Rotation(setting=setting(3, patch_size=(4, 16, 16)))
    assert flat.size == (8, 8, 8)
    thick = Rotation(setting=setting(3, patch_size=(8, 20, 24), spacing=(5.0, 1.0, 1.0)))
    assert thick.size == (8, 20, 20)
    assert len(thick.turns) == 8


def test_views_are_not_longer_than_most_images_whose_margins_would_tell_the_turn() -> None:
    small = Rotation(setting=setting(3, patch_size=(16, 24, 16), median_shape=(14.0, 23.5, 15.0)))
    assert small.size == (12, 12, 12)
    rng = np.random.default_rng(0)
    assert all(small.make(np.ones((1, *drawn.region.size), np.float32), drawn).views[0].min() == 1
               for drawn in (small.draw(rng, (14, 23, 15)) for _ in range(20)))  # fmt: skip
    slices = Rotation(setting=setting(2, median_shape=(30.0, 10.0, 18.0)))  # of a volume: the first axis is not seen
    assert slices.size == (8, 8)
    thick = Rotation(
        setting=setting(3, patch_size=(8, 20, 24), median_shape=(6.0, 40.0, 40.0), spacing=(5.0, 1.0, 1.0))
    )
    assert thick.size == (4, 20, 20)


def test_every_turn_is_drawn_and_can_be_undone() -> None:
    method = Rotation(setting=setting(2))
    rng, image = np.random.default_rng(0), np.random.default_rng(1).random((1, 16, 16)).astype(np.float32)
    seen = set()
    for _ in range(40):
        drawn = method.draw(rng, (16, 16))
        example = method.make(image, drawn)
        turn = int(example.extra["turn"])
        seen.add(turn)
        torch.testing.assert_close(example.views[0], method.turns[turn].apply(torch.from_numpy(image)))
    assert seen == {0, 1, 2, 3}
