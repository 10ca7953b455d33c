"""Batches of views: keyed draws, weights of sources, slices for planes, workers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.batches.loading import Batches
from autoseg.data.image import Geometry
from autoseg.errors import ConfigurationError
from autoseg.preprocessing.record import CaseProperties, PreparedCase
from autoseg.preprocessing.store import Store, StoreInfo, claim, write_case
from autoseg.tasks.pretraining.methods.build import build_method
from autoseg.tasks.pretraining.trainer.batches import ViewSource
from tests.unit.tasks.pretraining.blob_images import blobs, setting

SHAPE = (6, 20, 22)
WEIGHTS = {"a": 1.0, "b": 1.0, "c": 2.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three images, each slice of which has its number in the first voxel."""
    folder = tmp_path_factory.mktemp("store")
    claim(folder, StoreInfo(digest="test"))
    for seed, case in enumerate(WEIGHTS):
        image = blobs(np.random.default_rng(seed), SHAPE)
        properties = CaseProperties(
            channels=1,
            geometry=Geometry(),
            transpose=(0, 1, 2),
            shape_before_crop=SHAPE,
            crop_box=tuple((0, n) for n in SHAPE),  # type: ignore[arg-type]
            shape=SHAPE,
            spacing=(1.0, 1.0, 1.0),
        )
        prepared = PreparedCase(data=image, labels=np.zeros(SHAPE, np.int8), properties=properties)
        write_case(folder, case, prepared, {}, patch_size=(16, 16), source="test")
    return Store(folder)


def source(store: Store, name: str = "simclr", dimension: int = 2, **changes: object) -> ViewSource:
    made = setting(dimension)
    values = {"weights": WEIGHTS, "batch_size": 4, "seed": 3, **changes}
    return ViewSource(store, method=build_method(name, made), dimension=dimension, **values)  # type: ignore[arg-type]


def test_a_batch_depends_on_seed_step_and_sample_alone(store: Store) -> None:
    first, again = source(store).batch(7), source(store).batch(7)
    part = source(store).batch(7, range(2, 4))
    assert first.cases == again.cases
    assert first.cases[2:] == part.cases
    for one, other, some in zip(first.views, again.views, part.views, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one[2:], some)
    assert not torch.equal(first.views[0], source(store).batch(8).views[0])
    assert not torch.equal(first.views[0], source(store, seed=4).batch(7).views[0])


def test_workers_make_the_same_batches(store: Store) -> None:
    with Batches(source(store, "restoration"), range(3), workers=2) as made:
        found = list(made)
    for step, batch in enumerate(found):
        expected = source(store, "restoration").batch(step)
        assert torch.equal(batch.views[0], expected.views[0])
        assert torch.equal(batch.extra["image"], expected.extra["image"])


def test_images_are_drawn_by_their_weights(store: Store) -> None:
    chosen = source(store, "rotation")
    drawn = Counter(draw.case for step in range(500) for draw in chosen.draws(step))
    shares = np.array([drawn[case] for case in WEIGHTS]) / sum(drawn.values())
    # five standard deviations of a binomial share of 2000 draws
    np.testing.assert_allclose(shares, (0.25, 0.25, 0.5), atol=5 * 0.5 / 2000**0.5)


def test_cases_take_turns_where_they_are_looked_at(store: Store) -> None:
    looked = source(store, in_turn=True)
    assert [draw.case for step in range(2) for draw in looked.draws(step)] == list("abcabcab")


def test_a_plane_network_sees_every_slice(store: Store) -> None:
    draws = [draw for step in range(60) for draw in source(store, "rotation").draws(step)]
    assert {draw.place for draw in draws} == set(range(SHAPE[0]))
    draw = draws[0]
    start, size = draw.drawn.region.start, draw.drawn.region.size
    read, _ = store.read_box(draw.case, (draw.place, *start), (1, *size))
    expected = source(store, "rotation").method.make(read[:, 0], draw.drawn)
    assert torch.equal(source(store, "rotation").batch(0).views[0][0], expected.views[0])


def test_a_volume_network_sees_volumes(store: Store) -> None:
    batch = source(store, "masked-autoencoder", 3).batch(0)
    assert batch.views[0].shape == (4, 1, 16, 16, 16)
    assert batch.extra["hidden"].shape == (4, 4, 4, 4)


def test_no_image_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no images to learn from"):
        source(store, weights={})
