"""Samples depend on their key alone: seed, stream, step and place in the batch; and they lie where they should."""

from __future__ import annotations

from itertools import product
from math import ceil
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import MemoryStore

from autoseg.batches.augment.intensity import GaussianNoise
from autoseg.batches.augment.policy import Policy, Step, build_policy
from autoseg.batches.loading import Batches
from autoseg.batches.sampling import ClassBalancedSampler, SamplingRules
from autoseg.batches.source import TRAINING, VALIDATION, Batch, Source
from autoseg.plan.record import TransformPlan

SEEDS = st.integers(0, 2**32 - 1)
STEPS = st.integers(0, 10**6)
AUGMENTATION = build_policy(
    [
        TransformPlan(name="spatial", options={"rotation_probability": 0.5, "scaling_probability": 0.5}),
        TransformPlan(name="gaussian-noise", probability=0.5),
        TransformPlan(name="gamma", probability=0.5),
        TransformPlan(name="mirror"),
    ]
)
PATCH, BATCH = (8, 10, 6), 3


def source(store: Any, seed: int, stream: int = TRAINING, policy: Policy = AUGMENTATION, **rules: Any) -> Source:
    made = SamplingRules(("a", "b", "c"), PATCH, policy.window(PATCH), BATCH, **rules)
    return Source(store, ClassBalancedSampler(store, made), policy, PATCH, BATCH, seed=seed, stream=stream)


def assert_equal(one: Batch, other: Batch) -> None:
    assert (one.step, one.cases, one.starts) == (other.step, other.cases, other.starts)
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.target, other.target)


@settings(max_examples=25)
@given(SEEDS, st.sampled_from((TRAINING, VALIDATION)), STEPS, STEPS)
def test_equal_keys_give_equal_samples_whatever_was_made_before(
    small_store: MemoryStore, seed: int, stream: int, step: int, before: int
) -> None:
    first = source(small_store, seed, stream).batch(step)
    used = source(small_store, seed, stream)
    used.batch(before)
    assert_equal(used.batch(step), first)


@settings(max_examples=25)
@given(SEEDS, STEPS, st.integers(1, BATCH - 1))
def test_shares_of_a_batch_are_its_parts(small_store: MemoryStore, seed: int, step: int, cut: int) -> None:
    made = source(small_store, seed)
    whole, parts = made.batch(step), [made.batch(step, share) for share in (range(cut), range(cut, BATCH))]
    assert torch.equal(whole.image, torch.cat([part.image for part in parts]))
    assert torch.equal(whole.target, torch.cat([part.target for part in parts]))
    assert whole.starts == tuple(start for part in parts for start in part.starts)


@settings(max_examples=4)  # each starts processes
@given(SEEDS, STEPS, st.integers(1, 4), st.integers(1, 2))
def test_the_number_of_workers_does_not_matter(
    small_store: MemoryStore, seed: int, step: int, count: int, workers: int
) -> None:
    made, steps = source(small_store, seed), range(step, step + count)
    with Batches(made, steps, workers=workers) as batches:
        found = list(batches)
    assert [batch.step for batch in found] == list(steps)
    for batch in found:
        assert_equal(batch, made.batch(batch.step))


@settings(max_examples=25)
@given(SEEDS, STEPS)
def test_different_keys_give_different_random_numbers(
    small_store: MemoryStore, first_seed: int, first_step: int
) -> None:
    """Neighbouring keys above all, which sums of their parts would confuse."""
    seeds, steps = range(first_seed, first_seed + 2), range(first_step, first_step + 3)
    noise = Policy((Step(GaussianNoise(variance=(1.0, 1.0))),))
    store = BlankStore(small_store)
    seen = []
    for seed, stream in product(seeds, (TRAINING, VALIDATION)):
        made = source(store, seed, stream, noise)
        for step in steps:
            seen += [float(image[0, 0, 0, 0]) for image in made.batch(step).image]
    assert len(seen) == 2 * 2 * len(steps) * BATCH
    assert len(set(seen)) == len(seen)


class BlankStore:
    """Another store's cases, black: what is seen of them is noise."""

    def __init__(self, store: MemoryStore) -> None:
        self.shape, self.locations, self._read = store.shape, store.locations, store.read_box

    def read_box(self, case: str, start: Any, size: Any) -> tuple[np.ndarray, np.ndarray]:
        image, labels = self._read(case, start, size)
        return np.zeros_like(image), labels


@given(SEEDS, STEPS, st.floats(0, 1))
def test_forced_samples_show_their_class_and_free_ones_do_not_stray(
    small_store: MemoryStore, seed: int, step: int, fraction: float
) -> None:
    made = source(small_store, seed, foreground_fraction=fraction)
    rules = made.sampler.rules  # type: ignore[attr-defined]
    forced = [index for index in range(BATCH) if rules.is_forced(index)]
    assert len(forced) == BATCH - round(BATCH * (1 - fraction))
    values = {"ball": 1, "core": 2}
    for index, draw in enumerate(made.draws(step)):
        start = [place - n // 2 for place, n in zip(draw.centre, PATCH, strict=True)]
        _, labels = small_store.read_box(draw.case, start, PATCH)
        if draw.forced is not None:
            assert index in forced
            assert (labels == values[draw.forced]).any()
        else:
            assert index not in forced or draw.case == "c"  # which has no foreground
        shape = small_store.shape(draw.case)[1:]
        for place, length, patch, window in zip(draw.centre, shape, PATCH, rules.window_size, strict=True):
            low, beyond = place - window // 2, ceil((window - min(patch, length)) / 2)
            assert low >= -beyond
            assert draw.forced is not None or low + window <= length + beyond
