"""Batches of pairs for learned registration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from registration_runs import learned, plan_of, store_of

from autoseg.batches.augment.policy import build_policy
from autoseg.batches.loading import Batches
from autoseg.data.image import Geometry
from autoseg.errors import ConfigurationError
from autoseg.plan.record import TransformPlan
from autoseg.preprocessing.store import Store
from autoseg.tasks.registration.learned.fields import warp
from autoseg.tasks.registration.trainer.pairs import Pairs, PairSource, validation_pairs

CASES = ("a", "b", "c")
POLICY = build_policy((TransformPlan(name="spatial", options={"rotation_degrees": 10.0, "rotation_probability": 1.0}),))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_of(tmp_path_factory.mktemp("store"), plan_of(learned()), dict.fromkeys(CASES, Geometry()))


def same(first: Pairs, second: Pairs) -> bool:
    pairs = [(getattr(first.data, name), getattr(second.data, name)) for name in vars(first.data)]
    return first.cases == second.cases and all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)


def test_every_case_is_fixed_once_and_never_its_own_partner() -> None:
    for count in (2, 3, 13, 26, 52):
        cases = [f"{place:03d}" for place in range(count)]
        pairs = validation_pairs(cases, ["other"])
        assert [fixed for fixed, _ in pairs] == cases
        assert {moving for _, moving in pairs} == set(cases)
        assert all(fixed != moving for fixed, moving in pairs)
    assert validation_pairs(cases, [])[3] == ("003", "016")


def test_a_case_that_is_alone_is_paired_with_a_training_case_and_an_atlas_with_every_case() -> None:
    assert validation_pairs(["a"], ["b", "c"]) == (("a", "b"),)
    assert validation_pairs([], ["b"]) == ()
    assert validation_pairs(["a", "b"], ["c"], "b") == (("a", "b"),)


def test_a_batch_depends_on_seed_and_step_alone(store: Store) -> None:
    source = PairSource(store, CASES, learned(batch_size=3), POLICY, (2,), labelled=True, seed=5)
    whole = source.batch(7)
    assert same(whole, source.batch(7))
    assert not same(whole, source.batch(8))
    assert not same(
        whole, PairSource(store, CASES, learned(batch_size=3), POLICY, (2,), labelled=True, seed=6).batch(7)
    )
    part = source.batch(7, range(1, 3))
    assert torch.equal(part.data.fixed, whole.data.fixed[1:])
    assert part.cases == whole.cases[2:]
    with Batches(source, range(7, 9), workers=2) as batches:
        assert [same(batch, source.batch(step)) for step, batch in enumerate(batches, start=7)] == [True, True]


def test_pairs_are_of_two_cases_all_of_which_come_up(store: Store) -> None:
    source = PairSource(store, CASES, learned())
    drawn = {(draw.fixed, draw.moving) for step in range(60) for draw in source.draws(step)}
    assert drawn == {(one, other) for one in CASES for other in CASES if one != other}
    atlas = PairSource(store, CASES, learned(pairing="atlas", atlas="b"), atlas="b")
    assert {draw.case for step in range(30) for draw in atlas.draws(step)} == {"a and b", "c and b"}


def test_without_augmentation_a_case_lies_in_the_middle_continued_by_its_border(store: Store) -> None:
    source = PairSource(store, CASES, learned(), labelled=True, fixed_pairs=(("a", "b"), ("c", "a")))
    batch = source.batch(3)  # pairs are taken in turns
    assert batch.cases == ("c", "a")
    image, labels = store.read("a")
    assert image.shape[1:] == (14, 17, 18)
    moving, mask, mapped = batch.data.moving[0], batch.data.moving_mask[0], batch.data.moving_labels[0]
    assert torch.equal(moving[:, 1:15], torch.from_numpy(image[:, :, :16, 1:17]))
    assert torch.equal(moving[:, 0], moving[:, 1])
    assert not mask[0].any()
    assert mask[1:15].all()
    assert np.array_equal(mapped[1:15], labels[:, :16, 1:17].clip(min=0))
    assert not mapped[0].any()
    assert PairSource(store, CASES, learned()).batch(0).data.fixed_labels is None


def test_images_of_one_pair_are_mirrored_together(store: Store) -> None:
    plain = PairSource(store, CASES, learned(), labelled=True, seed=1)
    mirroring = PairSource(store, CASES, learned(), mirror_axes=(1,), labelled=True, seed=1)
    flipped = 0
    for step in range(8):
        one, other = plain.batch(step), mirroring.batch(step)
        turned = not torch.equal(one.data.fixed, other.data.fixed)
        flipped += turned
        for name in ("fixed", "moving", "fixed_mask", "moving_mask", "fixed_labels", "moving_labels"):
            expected = getattr(one.data, name)
            axis = expected.ndim - 2
            assert torch.equal(expected.flip(axis) if turned else expected, getattr(other.data, name))
    assert 0 < flipped < 8


def test_known_deformations_lead_from_the_fixed_image_to_the_moving_one(store: Store) -> None:
    source = PairSource(store, ("a",), learned(supervision="deformations", amplitude=2.0), labelled=True)
    data = source.batch(0).data
    assert data.known_flow.abs().max() > 0.5
    assert torch.allclose(warp(data.moving, data.known_flow), data.fixed, atol=1e-5)
    assert torch.equal(warp(data.moving_labels[:, None], data.known_flow, "nearest")[:, 0], data.fixed_labels)


def test_weights_are_drawn_over_their_range(store: Store) -> None:
    source = PairSource(store, CASES, learned(hyper_range=(0.1, 10.0), batch_size=8))
    weights = torch.cat([source.batch(step).data.weight for step in range(4)])
    assert weights.shape == (32,)
    assert 0.1 <= float(weights.min()) < 0.5
    assert 2 < float(weights.max()) <= 10


def test_a_case_stored_the_other_way_round_looks_like_the_others(tmp_path: Path) -> None:
    away = Geometry(direction=((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)))
    store = store_of(tmp_path, plan_of(learned()), {"a": Geometry(), "b": away})
    moving = PairSource(store, ("a", "b"), learned(), fixed_pairs=(("a", "b"),)).batch(0).data.moving[0]
    image = store.read("b")[0][:, :, ::-1, ::-1].copy()
    assert torch.equal(moving[:, 1:15], torch.from_numpy(image[:, :, :16, 1:17]))


def test_planes(tmp_path: Path) -> None:
    network = learned(2)
    store = store_of(tmp_path, plan_of(network), dict.fromkeys(CASES, Geometry.plane()))
    data = PairSource(store, CASES, network, POLICY, (1,), labelled=True).batch(0).data
    assert data.fixed.shape == (1, 1, 16, 16)
    assert data.moving_labels.shape == data.fixed_mask.shape == (1, 16, 16)


def test_one_case_makes_no_pair(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="at least two training cases"):
        PairSource(store, ("a",), learned())
