from __future__ import annotations

import random

import pytest

from autoseg.plan.topology import MIN_EDGE, fold


def test_isotropic_cube_is_halved_until_four_voxels_are_left() -> None:
    folded = fold((1.0, 1.0, 1.0), (128, 128, 128))
    assert folded.strides == ((1, 1, 1),) + ((2, 2, 2),) * 5
    assert folded.kernel_sizes == ((3, 3, 3),) * 6
    assert folded.patch_size == (128, 128, 128)
    assert folded.divisor == (32, 32, 32)
    assert folded.stages == 6


def test_thick_slices_are_left_alone_until_the_plane_is_as_coarse() -> None:
    # 5 mm slices, 1 mm in the plane: two in-plane halvings bring the ratio to 5 / 4 < 2
    folded = fold((5.0, 1.0, 1.0), (16, 128, 128))
    assert folded.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    # the kernel turns 3 along z at 5 / 4, and stays so
    assert folded.kernel_sizes == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))


def test_patch_is_rounded_up_to_a_multiple_of_the_divisor() -> None:
    assert fold((1.0, 1.0), (21.5, 50)).patch_size == (24, 56)


def test_half_voxels_are_rounded_up() -> None:
    assert fold((1.0, 1.0, 1.0), (5.5, 6, 7)).patch_size == (6, 6, 7)


def test_a_lone_axis_needs_a_margin() -> None:
    assert fold((1.0, 1.0), (8, 4)).stages == 1
    assert fold((1.0, 1.0), (12, 4)).stages == 2


def test_a_patch_too_small_to_pool_has_one_stage() -> None:
    folded = fold((1.0, 1.0, 1.0), (7, 7, 7))
    assert folded.stages == 1
    assert folded.kernel_sizes == ((3, 3, 3),)
    assert folded.patch_size == (7, 7, 7)


@pytest.mark.parametrize("seed", range(5))
def test_properties_hold_for_random_patches(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(100):
        dimension = draw.choice((2, 3))
        spacing = [10 ** draw.uniform(-1, 1) for _ in range(dimension)]
        patch = [draw.randint(1, 300) for _ in range(dimension)]
        folded = fold(spacing, patch)
        product = [1] * dimension
        for stride in folded.strides:
            product = [a * b for a, b in zip(product, stride, strict=True)]
        assert tuple(product) == folded.divisor
        assert len(folded.kernel_sizes) == len(folded.strides)
        for asked, edge, divisor in zip(patch, folded.patch_size, folded.divisor, strict=True):
            assert asked <= edge < asked + divisor
            assert edge % divisor == 0
            assert divisor == 1 or edge // divisor >= MIN_EDGE
        assert fold(spacing, folded.patch_size) == folded
