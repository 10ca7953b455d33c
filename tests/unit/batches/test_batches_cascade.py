"""The previous stage's labels in batches: mistakes made for them, and channels that lie where the image does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from scipy.stats import kstest
from skimage.morphology import ball, dilation, disk, erosion
from test_batches_loading import AUGMENTATION, SCHEME, assert_equal, collect, configuration

from autoseg.batches.augment.cascade import (
    OPERATIONS,
    BallOperator,
    CascadeDropComponents,
    CascadeMorphology,
    DroppedComponent,
    apply_ball,
)
from autoseg.batches.augment.policy import build_policy
from autoseg.batches.augment.transform import Sample
from autoseg.batches.source import training_source, validation_source
from autoseg.data.labels import OUTSIDE
from autoseg.plan.record import TransformPlan
from autoseg.preprocessing.previous_stage import previous_stage_channels

CASCADE = (
    TransformPlan(name="cascade-morphology", probability=0.4, options={"labels": 2, "radius": [1, 3]}),
    TransformPlan(name="cascade-drop-components", probability=0.2, options={"labels": 2}),
)


class MemoryLabels:
    """Previous-stage labels in memory."""

    def __init__(self, cases: dict[str, np.ndarray]) -> None:
        self.cases = cases

    def read_box(self, case: str, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
        padded = np.pad(self.cases[case], 64, constant_values=OUTSIDE)
        return padded[tuple(slice(s + 64, s + 64 + n) for s, n in zip(start, size, strict=True))].copy()

    def channels(self, labels: np.ndarray) -> np.ndarray:
        return previous_stage_channels(labels, SCHEME)


@pytest.fixture
def truth(small_store) -> MemoryLabels:
    """The store's own labels as the previous stage's."""
    cases = {}
    for case in small_store.cases:
        _, labels = small_store.read_box(case, (0, 0, 0), small_store.shape(case)[1:])
        cases[case] = np.maximum(labels, 0)
    return MemoryLabels(cases)


def blobs(shape: tuple[int, ...], seed: int, share: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < share


def sample_of(labels: np.ndarray, target: np.ndarray | None = None) -> Sample:
    target = np.zeros_like(labels) if target is None else target
    return Sample(torch.zeros(1, *labels.shape), torch.from_numpy(np.stack([target, labels]).astype(np.int16)))


def by_footprint(mask: np.ndarray, operation: str, footprint: np.ndarray) -> np.ndarray:
    """Without a border of its own: what is beyond the array neither adds nor takes away."""
    grow, shrink = (lambda m: dilation(m, footprint)), (lambda m: erosion(m, footprint))
    steps = {"dilation": (grow,), "erosion": (shrink,), "closing": (grow, shrink), "opening": (shrink, grow)}
    for step in steps[operation]:
        mask = step(mask.astype(np.uint8)).astype(bool)
    return mask


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("radius", [1, 2, 5])
def test_ball_operators_are_those_of_skimage(operation, radius) -> None:
    for share in (0.01, 0.5, 0.97):
        mask = blobs((14, 19, 16), radius, share)
        expected = by_footprint(mask, operation, ball(radius))
        assert np.array_equal(apply_ball(mask, operation, radius), expected)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_largest_ball_and_the_disk_are_those_of_skimage(operation) -> None:
    mask = dilation(blobs((24, 22, 20), 3, 0.002).astype(np.uint8), ball(6)).astype(bool)
    assert np.array_equal(apply_ball(mask, operation, 8), by_footprint(mask, operation, ball(8)))
    plane = mask[12]
    assert np.array_equal(apply_ball(plane, operation, 3), by_footprint(plane, operation, disk(3)))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_ball_of_any_real_radius_holds_the_offsets_of_at_most_this_length(operation) -> None:
    mask = blobs((12, 13, 14), 4, 0.6 if operation == "erosion" else 0.03)
    offsets = np.indices((7, 7, 7)) - 3
    footprint = np.sqrt((offsets**2).sum(0)) <= 2.3
    assert np.array_equal(apply_ball(mask, operation, 2.3), by_footprint(mask, operation, footprint))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_empty_and_full_masks_stay(operation) -> None:
    empty = np.zeros((5, 6, 7), bool)
    assert not apply_ball(empty, operation, 3).any()
    assert apply_ball(~empty, operation, 3).all()


def test_a_grown_label_takes_voxels_of_the_others_and_a_shrunk_one_leaves_background() -> None:
    labels = np.zeros((9, 9, 9), np.int16)
    labels[:, :, :4], labels[:, :, 6:] = 1, 2
    target = np.full_like(labels, 2)
    grown = CascadeMorphology(labels=2).apply(sample_of(labels, target), (BallOperator(1, "dilation", 3.0),)).labels
    assert grown[1, 4, 4].tolist() == [1, 1, 1, 1, 1, 1, 1, 2, 2]
    assert (grown[0] == 2).all()
    operators = (BallOperator(1, "erosion", 1.0), BallOperator(2, "dilation", 2.0))
    after = CascadeMorphology(labels=2).apply(sample_of(labels), operators).labels
    assert after[1, 4, 4].tolist() == [1, 1, 1, 0, 2, 2, 2, 2, 2]


def test_operators_equal_those_on_one_hot_channels() -> None:
    """As nnU-Net has it: each channel in turn, and what a channel gains is taken from all others."""
    rng = np.random.default_rng(7)
    transform = CascadeMorphology(labels=4, radius=(1, 4), label_probability=0.8)
    for _ in range(10):
        labels = rng.integers(0, 5, (4, 4, 4)).repeat(4, 0).repeat(4, 1).repeat(4, 2)
        operators = transform.draw(rng, (1, 16, 16, 16))
        channels = [labels == value for value in range(1, 5)]
        for operator in operators or ():
            before = channels[operator.label - 1]
            after = apply_ball(before, operator.operation, operator.radius)
            channels = [channel & ~(after & ~before) for channel in channels]
            channels[operator.label - 1] = after
        if operators:
            made = transform.apply(sample_of(labels), operators).labels[1].numpy()
            for value, channel in enumerate(channels, 1):
                assert np.array_equal(made == value, channel)


def test_drawn_operators_have_nnunets_distribution() -> None:
    transform, rng = CascadeMorphology(labels=3), np.random.default_rng(0)
    drawn = [transform.draw(rng, (1, 8, 8, 8)) or () for _ in range(4000)]
    operators = [operator for operators in drawn for operator in operators]
    assert len(operators) / (3 * 4000) == pytest.approx(0.5, abs=0.02)
    assert kstest([o.radius for o in operators], "uniform", (1, 7)).pvalue > 1e-3
    for operation in OPERATIONS:
        assert np.mean([o.operation == operation for o in operators]) == pytest.approx(0.25, abs=0.03)
    first = [operators[0].label for operators in drawn if len(operators) == 3]
    assert np.bincount(first, minlength=4)[1:] / len(first) == pytest.approx([1 / 3] * 3, abs=0.08)


def test_the_policy_applies_them_to_four_and_two_patches_of_ten() -> None:
    policy, rng = build_policy(CASCADE), np.random.default_rng(1)
    drawn = [policy.draw(rng, (1, 8, 8, 8)) for _ in range(5000)]
    chosen = np.mean([[parameters is not None for parameters in steps] for steps in drawn], 0)
    # of the chosen patches a quarter has no chosen label, with two labels at one half each
    assert chosen == pytest.approx([0.4 * 0.75, 0.2 * 0.75], abs=0.03)


def test_only_whole_small_components_are_dropped() -> None:
    rng = np.random.default_rng(2)
    transform = CascadeDropComponents(labels=2, label_probability=1.0)
    dropped_shares = []
    for seed in range(30):
        scores = torch.nn.functional.avg_pool3d(torch.from_numpy(rng.normal(size=(1, 3, 26, 24, 22))), 5 + seed % 4, 1)
        labels = scores[0].argmax(0).numpy().astype(np.int16)
        after = transform.apply(sample_of(labels), transform.draw(rng, labels.shape)).labels[1].numpy()
        changed = labels != after
        assert (after[changed] == 0).all()
        for value in (1, 2):
            components, count = label(labels == value, np.ones((3, 3, 3)))
            sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
            gone = [index for index in range(1, count + 1) if changed[components == index].any()]
            assert len(gone) == bool((sizes < 0.15 * labels.size).any())
            for index in gone:
                assert changed[components == index].all()
                assert sizes[index - 1] < 0.15 * labels.size
                dropped_shares.append(sizes[index - 1])
    assert len(dropped_shares) > 20


def test_every_small_component_is_equally_likely() -> None:
    labels = np.zeros((4, 8, 40), np.int16)
    labels[:, :, :14] = 1  # more than 15 %: stays
    for start in (20, 26, 32):
        labels[1:3, 1:3, start : start + 3] = 1
    transform, rng = CascadeDropComponents(labels=1, label_probability=1.0), np.random.default_rng(3)
    counts = np.zeros(3)
    for _ in range(900):
        after = transform.apply(sample_of(labels), transform.draw(rng, labels.shape)).labels[1].numpy()
        assert (after[:, :, :14] == 1).all()
        gone = [start for start in (20, 26, 32) if not after[:, :, start : start + 3].any()]
        assert len(gone) == 1
        counts[(20, 26, 32).index(gone[0])] += 1
    assert counts / 900 == pytest.approx([1 / 3] * 3, abs=0.06)


def test_a_plane_loses_a_component_whose_pixels_touch_at_corners() -> None:
    labels = np.zeros((12, 12), np.int16)
    labels[[1, 2, 3], [1, 2, 3]] = 1
    assert not CascadeDropComponents(labels=1).apply(sample_of(labels), (DroppedComponent(1, 0.9),)).labels[1].any()


def test_a_label_that_is_absent_or_too_large_stays() -> None:
    labels = np.ones((6, 6, 6), np.int16)
    drawn = (DroppedComponent(1, 0.5), DroppedComponent(2, 0.5))
    assert (CascadeDropComponents(labels=2).apply(sample_of(labels), drawn).labels[1] == 1).all()


def source(store, previous, augmentation=(), kind=training_source, **changes):
    made = configuration(augmentation=augmentation, previous_stage="3d_lowres", **changes)
    return kind(store, ("a", "b", "c"), made, SCHEME, seed=0, previous=previous)


def shown(batch) -> torch.Tensor:
    """Labels that the last two channels stand for."""
    return (batch.image[:, 2:] * torch.tensor([1.0, 2.0]).view(2, *[1] * (batch.image.ndim - 2))).sum(1, keepdim=True)


@pytest.mark.parametrize("kind", [training_source, validation_source])
def test_channels_are_the_previous_labels_at_the_patch(small_store, truth, kind) -> None:
    truth.cases = {case: np.random.default_rng(0).integers(0, 3, a.shape, np.int16) for case, a in truth.cases.items()}
    for batch in collect(source(small_store, truth, kind=kind), range(4)):
        assert batch.image.shape == (3, 4, 10, 12, 8)
        assert batch.target.shape == (3, 1, 10, 12, 8)
        for case, start, labels in zip(batch.cases, batch.starts, shown(batch), strict=True):
            assert np.array_equal(labels[0], np.maximum(truth.read_box(case, start, (10, 12, 8)), 0))


@pytest.mark.parametrize("dummy_2d", [False, True])
def test_channels_follow_the_target_through_rotation_scaling_and_mirrors(small_store, truth, dummy_2d) -> None:
    """Where the previous labels are the truth they must come out as the target does, voxel by voxel."""
    spatial = {"rotation_degrees": 40, "rotation_probability": 0.7, "scaling_probability": 0.7, "dummy_2d": dummy_2d}
    augmentation = (TransformPlan(name="spatial", options=spatial), *AUGMENTATION[1:])
    for batch in collect(source(small_store, truth, augmentation), range(10)):
        assert torch.equal(shown(batch), batch.target.float())


def test_the_image_and_the_target_do_not_depend_on_the_previous_labels(small_store, truth) -> None:
    with_labels = collect(source(small_store, truth, (*AUGMENTATION, *CASCADE)), range(4))
    without = collect(training_source(small_store, ("a", "b", "c"), configuration(), SCHEME, seed=0), range(4))
    for one, other in zip(with_labels, without, strict=True):
        assert torch.equal(one.image[:, :2], other.image)
        assert torch.equal(one.target, other.target)


def test_mistakes_reach_the_channels_and_spare_the_target(small_store, truth) -> None:
    certain = tuple(step.with_(probability=1.0) for step in CASCADE)
    changed = collect(source(small_store, truth, certain), range(6))
    plain = collect(source(small_store, truth), range(6))
    assert all(torch.equal(one.target, other.target) for one, other in zip(changed, plain, strict=True))
    assert any(not torch.equal(shown(one), shown(other)) for one, other in zip(changed, plain, strict=True))
    assert all(set(torch.unique(batch.image[:, 2:]).tolist()) <= {0, 1} for batch in changed)
    assert all((batch.image[:, 2:].sum(1) <= 1).all() for batch in changed)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_channels(small_store, truth, workers) -> None:
    made = source(small_store, truth, (*AUGMENTATION, *(step.with_(probability=1.0) for step in CASCADE)))
    assert_equal(collect(made, range(4)), collect(made, range(4), workers=workers))


def test_masked_channels_leave_the_previous_labels_alone(small_store, truth) -> None:
    noise = (TransformPlan(name="gaussian-noise"),)
    masked = collect(source(small_store, truth, noise, use_mask_for_norm=(True, True)), range(3))
    plain = collect(source(small_store, truth, noise), range(3))
    assert all(torch.equal(shown(one), shown(other)) for one, other in zip(masked, plain, strict=True))


def test_planes_have_channels_too(small_store, truth) -> None:
    made = source(small_store, truth, patch=(16, 12))
    for batch in collect(made, range(3)):
        assert batch.image.shape == (3, 4, 16, 12)
        assert torch.equal(shown(batch), batch.target.float())
