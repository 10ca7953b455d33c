"""Places are drawn by nnU-Net's rules.

Reference numbers: nnUNetDataLoader.get_bbox of nnunetv2 2.8.1, 20000 draws a setting.
"""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.batches.sampling import (
    AdaptiveSampler,
    AnnotatedStore,
    ClassBalancedSampler,
    HardLocationSampler,
    SamplingRules,
)
from autoseg.errors import ConfigurationError

# image shape, patch, window; then first, last, mean and standard deviation of the centre of a free sample
FREE = {
    "small": ((36, 50, 35), (40, 56, 40), (73, 80, 73), (17, 25, 17), (18, 25, 17), (17.5, 25, 17), (0.5, 0, 0)),
    "large": (
        (100, 120, 90), (40, 56, 40), (73, 80, 73),
        (19, 28, 19), (80, 92, 70), (49.53, 60.15, 44.42), (17.97, 18.65, 15.04),
    ),
    "plane": (
        (12, 70, 90), (1, 64, 64), (1, 106, 106),
        (0, 32, 32), (11, 38, 58), (5.5, 35, 45.03), (3.45, 2.01, 7.83),
    ),
}  # fmt: skip
# centres of forced samples and their shares, for the voxels below
FORCED = {
    "small": {(17, 25, 17): 0.244, (17, 30, 33): 0.25, (17, 49, 34): 0.506},
    "large": {(19, 28, 19): 0.252, (19, 30, 33): 0.248, (19, 49, 34): 0.499},
    "plane": {(2, 32, 32): 0.254, (10, 32, 33): 0.251, (11, 49, 34): 0.495},
}
VOXELS = {
    "first": np.array([[2, 3, 4], [10, 30, 33]]),
    "second": np.array([[11, 49, 34]]),
    "absent": np.empty((0, 3), int),
}


class PlacesOnly:
    def __init__(self, shape, locations):
        self._shape, self._locations = shape, locations

    def shape(self, case):
        return (1, *self._shape)

    def locations(self, case):
        return self._locations


def draws(sampler, index, count=4000):
    return [sampler.draw(np.random.default_rng((3, number)), index) for number in range(count)]


def rules(patch=(8, 8, 8), window=None, cases=("a",), batch_size=3, **options):
    return SamplingRules(cases, patch, window or patch, batch_size, **options)


@pytest.mark.parametrize("name", FREE)
def test_free_places_are_distributed_as_in_nnunet(name):
    shape, patch, window, first, last, mean, deviation = FREE[name]
    sampler = ClassBalancedSampler(PlacesOnly(shape, VOXELS), rules(patch, window))
    centres = np.array([draw.centre for draw in draws(sampler, index=0)])
    assert tuple(centres.min(0)) == first
    assert tuple(centres.max(0)) == last
    assert np.allclose(centres.mean(0), mean, atol=4 * np.array(deviation) / 60 + 0.01)
    assert np.allclose(centres.std(0), deviation, rtol=0.03)


@pytest.mark.parametrize("name", FORCED)
def test_forced_places_are_distributed_as_in_nnunet(name):
    shape, patch, window = FREE[name][:3]
    sampler = ClassBalancedSampler(PlacesOnly(shape, VOXELS), rules(patch, window))
    centres = [draw.centre for draw in draws(sampler, index=2)]
    shares = {centre: centres.count(centre) / len(centres) for centre in set(centres)}
    assert shares == pytest.approx(FORCED[name], abs=0.03)


@pytest.mark.parametrize(
    ("batch_size", "fraction", "forced"),
    [(2, 0.33, 1), (2, 1 / 3, 1), (3, 0.33, 1), (4, 0.33, 1), (5, 0.33, 2), (9, 0.33, 3), (12, 0.33, 4), (1, 0.33, 0)],
)
def test_the_last_samples_are_forced_with_nnunets_rounding(batch_size, fraction, forced):
    made = rules(batch_size=batch_size, foreground_fraction=fraction)
    assert [made.is_forced(i) for i in range(batch_size)] == [False] * (batch_size - forced) + [True] * forced


def test_cases_are_equally_likely_and_each_class_of_a_case_too(small_store):
    sampler = ClassBalancedSampler(small_store, rules(cases=("a", "b", "c")))
    drawn = draws(sampler, index=2)
    for case in "abc":
        assert np.mean([d.case == case for d in drawn]) == pytest.approx(1 / 3, abs=0.03)
    names = [d.forced for d in drawn if d.case == "a"]
    assert np.mean([name == "core" for name in names]) == pytest.approx(0.5, abs=0.05)
    assert {d.forced for d in drawn if d.case == "c"} == {None}


def test_a_forced_sample_holds_its_class(small_store):
    sampler = ClassBalancedSampler(small_store, rules(patch=(6, 8, 10), cases=("a", "b")))
    for draw in draws(sampler, index=2, count=200):
        _, labels = small_store.read_box(draw.case, np.array(draw.centre) - (3, 4, 5), (6, 8, 10))
        assert ({"ball": 1, "core": 2}[draw.forced] == labels).any()


def test_class_weights_change_the_share_of_a_class(small_store):
    weighted = rules(cases=("a", "c"), class_weights={"core": 3.0})
    names = [d.forced for d in draws(ClassBalancedSampler(small_store, weighted), index=2) if d.case == "a"]
    assert np.mean([name == "core" for name in names]) == pytest.approx(0.75, abs=0.04)
    none = rules(class_weights={"core": 0.0, "ball": 0.0})
    assert {d.forced for d in draws(ClassBalancedSampler(small_store, none), index=2, count=20)} == {None}


def test_free_samples_lie_on_annotated_voxels_where_labels_may_be_ignored(memory_store):
    labels = np.full((30, 30, 30), 2, np.int16)
    labels[10:14, 11:15, 12:16] = 0
    store = memory_store({"a": (np.zeros((1, 30, 30, 30), np.float32), labels)}, {"thing": 1, "annotated": 2})
    drawn = draws(ClassBalancedSampler(store, rules(annotated_only=True)), index=0, count=200)
    assert all(labels[draw.centre] == 0 for draw in drawn)
    assert {draw.forced for draw in drawn} == {None}
    # a case without foreground: even forced samples go to annotated voxels
    assert all(labels[draw.centre] == 0 for draw in draws(ClassBalancedSampler(store, rules()), index=2, count=50))


def test_equal_keys_give_equal_places(small_store):
    sampler = ClassBalancedSampler(small_store, rules(cases=("a", "b", "c")))
    assert draws(sampler, 2, 50) == draws(sampler, 2, 50)


def test_no_cases_is_refused():
    with pytest.raises(ConfigurationError, match="no cases"):
        rules(cases=())


def test_hard_locations_take_half_of_the_free_samples_and_no_forced_one(small_store):
    balanced = ClassBalancedSampler(small_store, rules(cases=("a", "b", "c")))
    hard = HardLocationSampler(small_store, rules(cases=("a", "b", "c")))
    assert isinstance(hard, AdaptiveSampler)
    assert not isinstance(balanced, AdaptiveSampler)
    assert draws(hard, 0, 50) == draws(balanced, 0, 50)
    hard.update({"a": np.array([[13, 14, 15]]), "b": np.empty((0, 3), int)})
    at_place = [d.case == "a" and d.centre == (13, 14, 15) for d in draws(hard, 0)]
    assert np.mean(at_place) == pytest.approx(0.5, abs=0.04)
    assert draws(hard, 2, 50) == draws(balanced, 2, 50)
    hard.update({})
    assert draws(hard, 0, 50) == draws(balanced, 0, 50)


def test_hard_locations_survive_a_checkpoint(small_store):
    one, other = (HardLocationSampler(small_store, rules(cases=("a", "b"))) for _ in range(2))
    one.update({"b": np.array([[5, 6, 7], [8, 9, 10]]), "a": np.array([[4, 5, 6]])})
    other.load_state(one.state())
    assert draws(one, 0, 50) == draws(other, 0, 50)


@pytest.mark.usefixtures("unchecked_shapes")
def test_wrong_hard_locations_are_refused(small_store):
    sampler = HardLocationSampler(small_store, rules(cases=("case_1", "case_2")))
    with pytest.raises(ConfigurationError, match="did you mean 'case_1'"):
        sampler.update({"cas_1": np.zeros((1, 3), int)})
    with pytest.raises(ConfigurationError, match=r"expected: \(N, 3\)"):
        sampler.update({"case_1": np.zeros((4, 2), int)})


@pytest.mark.parametrize("kind", [ClassBalancedSampler, HardLocationSampler])
def test_no_patch_is_forced_on_a_class_that_was_not_looked_for(kind):
    store = AnnotatedStore(PlacesOnly((100, 120, 90), VOXELS), {"a": ("second", "absent"), "b": ("absent",)})
    sampler = kind(store, rules(cases=("a", "b", "c")))
    drawn = draws(sampler, index=2)
    forced = {case: {draw.forced for draw in drawn if draw.case == case} for case in "abc"}
    assert forced == {"a": {"second"}, "b": {None}, "c": {"first", "second"}}


def test_annotated_voxels_are_drawn_in_every_case():
    """Voxels that are not ignored are no class."""
    store = AnnotatedStore(PlacesOnly((30, 50, 40), {**VOXELS, "annotated": np.array([[9, 9, 9]])}), {"a": ("absent",)})
    sampler = ClassBalancedSampler(store, rules(annotated_only=True))
    assert {draw.centre for draw in draws(sampler, index=2, count=50)} == {(9, 9, 9)}
