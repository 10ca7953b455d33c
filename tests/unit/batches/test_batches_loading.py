"""Batches are the same whoever makes them and whenever; what goes wrong in a worker is told, never waited for."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from autoseg.batches.loading import Batches
from autoseg.batches.sampling import Draw, HardLocationSampler
from autoseg.batches.source import Batch, training_source, validation_source
from autoseg.data.labels import LabelScheme
from autoseg.errors import TrainingError
from autoseg.plan.record import ConfigurationPlan, SamplerPlan, TransformPlan

SCHEME = LabelScheme(names={"background": 0, "ball": 1, "core": 2})
AUGMENTATION = (
    TransformPlan(name="spatial", options={"rotation_probability": 0.6, "scaling_probability": 0.6}),
    TransformPlan(name="gaussian-noise", probability=0.5),
    TransformPlan(name="gaussian-blur", probability=0.5),
    TransformPlan(name="gamma", probability=0.5),
    TransformPlan(name="mirror", options={"axes": [0, 1]}),
)


def configuration(patch=(10, 12, 8), **changes):
    dimension = len(patch)
    fields = {
        "spacing": (1.0,) * dimension,
        "median_shape": patch,
        "patch_size": patch,
        "batch_size": 3,
        "strides": ((1,) * dimension,),
        "kernel_sizes": ((3,) * dimension,),
        "features_per_stage": (8,),
        "blocks_per_stage": (2,),
        "decoder_blocks_per_stage": (),
        "normalization": ("z-score", "z-score"),
        "use_mask_for_norm": (False, False),
        "batch_dice": False,
        "augmentation": AUGMENTATION,
    }
    return ConfigurationPlan(**{**fields, **changes})


def source(store, cases=("a", "b", "c"), patch=(10, 12, 8), seed=0, **changes):
    return training_source(store, cases, configuration(patch, **changes), SCHEME, seed=seed)


def collect(made, steps, **options):
    with Batches(made, steps, **options) as batches:
        return list(batches)


def assert_equal(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert (one.step, one.cases) == (other.step, other.cases)
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.target, other.target)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_batches(small_store, workers):
    made = source(small_store)
    assert_equal(collect(made, range(4, 10)), collect(made, range(4, 10), workers=workers))


def test_the_number_of_threads_does_not_change_the_batches(small_store):
    made, threads = source(small_store, patch=(20, 24, 20)), torch.get_num_threads()
    one = collect(made, range(3))
    torch.set_num_threads(threads + 1)
    try:
        other = collect(made, range(3))
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert_equal(one, other)


def test_a_later_start_gives_the_same_batches(small_store):
    assert_equal(collect(source(small_store), range(8))[5:], collect(source(small_store), range(5, 8)))


def test_seeds_and_steps_give_different_batches(small_store):
    first, second = collect(source(small_store), range(2))
    assert not torch.equal(first.image, second.image)
    assert not torch.equal(first.image, collect(source(small_store, seed=1), range(1))[0].image)


@pytest.mark.parametrize(("workers", "shares"), [(0, (range(0, 2), range(2, 3))), (1, (range(1), range(1, 3)))])
def test_shares_of_a_batch_make_the_whole_bit_for_bit(small_store, workers, shares):
    made = source(small_store)
    parts = [collect(made, range(3, 6), samples=share, workers=workers) for share in shares]
    for whole, *of_ranks in zip(collect(made, range(3, 6)), *parts, strict=True):
        assert torch.equal(whole.image, torch.cat([part.image for part in of_ranks]))
        assert torch.equal(whole.target, torch.cat([part.target for part in of_ranks]))
        assert whole.cases == tuple(case for part in of_ranks for case in part.cases)
        assert whole.starts == tuple(start for part in of_ranks for start in part.starts)


def test_shapes_and_types(small_store):
    (batch,) = collect(source(small_store), range(1))
    assert (batch.image.shape, batch.image.dtype) == ((3, 2, 10, 12, 8), torch.float32)
    assert (batch.target.shape, batch.target.dtype) == ((3, 1, 10, 12, 8), torch.int16)
    assert int(batch.target.min()) >= 0
    assert len(batch.cases) == 3


def test_2d_batches_are_slices(small_store):
    (batch,) = collect(source(small_store, patch=(16, 12)), range(1))
    assert batch.image.shape == (3, 2, 16, 12)
    assert batch.target.shape == (3, 1, 16, 12)
    assert {size[0] for _, _, size in small_store.boxes} == {1}


def test_validation_batches_show_the_case_as_it_is(small_store):
    made = validation_source(small_store, ("a", "b"), configuration(), SCHEME, seed=0)
    for batch in collect(made, range(4)):
        for case, start, image, target in zip(batch.cases, batch.starts, batch.image, batch.target, strict=True):
            expected, labels = small_store.read_box(case, start, (10, 12, 8))
            assert np.array_equal(image.numpy(), expected)
            assert np.array_equal(target[0].numpy(), np.maximum(labels, 0))


def test_validation_and_training_draw_apart(small_store):
    """No sample of one is drawn from the random numbers of a sample of the other, whatever the seed and the step."""
    seen = set()

    class Listening:
        def draw(self, rng, index):
            seen.add(rng.random())
            return Draw("a", (10, 10, 10))

    for seed in range(3):
        given = (small_store, ("a",), configuration(augmentation=()), SCHEME)
        for make in (training_source, validation_source):
            listening = replace(make(*given, seed=seed), sampler=Listening())
            for step in range(4):
                listening.draws(step)
    assert len(seen) == 3 * 2 * 4 * 3


def test_only_the_patch_is_read_where_nothing_is_turned(small_store):
    plain = (TransformPlan(name="spatial", options={"rotation_probability": 0, "scaling_probability": 0}),)
    collect(source(small_store, augmentation=plain), range(3))
    assert {size for _, _, size in small_store.boxes} == {(10, 12, 8)}


def test_masked_channels_are_zero_outside(memory_store):
    image = np.ones((2, 16, 16, 16), np.float32)
    labels = np.zeros((16, 16, 16), np.int16)
    labels[:8] = -1
    store = memory_store({"a": (image, labels)}, {"ball": 1, "core": 2})
    noise = (TransformPlan(name="gaussian-noise"),)
    made = training_source(
        store,
        ("a",),
        configuration((16, 16, 16), use_mask_for_norm=(True, False), augmentation=noise),
        SCHEME,
        seed=0,
    )
    (batch,) = collect(made, range(1))
    assert (batch.image[:, 0, :8] == 0).all()
    assert (batch.image[:, 0, 8:] != 0).all()
    assert (batch.image[:, 1] != 0).all()


def test_no_steps_give_no_batches(small_store):
    assert collect(source(small_store), range(0)) == []
    assert len(Batches(source(small_store), range(7, 12))) == 5


def test_batches_leave_the_global_generators_alone(small_store):
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    collect(source(small_store), range(2))
    collect(source(small_store), range(2), workers=1)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_a_pool_holds_from_the_next_opening(small_store):
    made = source(small_store, sampler=SamplerPlan(name="hard-location"), augmentation=())
    assert isinstance(made.sampler, HardLocationSampler)
    without = collect(made, range(4))
    with Batches(made, range(4)) as batches:
        made.sampler.update({"a": np.array([[12, 15, 13]])})
        assert_equal(without, list(batches))
    with_pool = collect(made, range(4))
    assert [b.starts for b in with_pool] != [b.starts for b in without]
    assert_equal(with_pool, collect(made, range(4), workers=1))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_names_the_step_and_the_cases_and_keeps_its_traceback(small_store, workers):
    def fail(case):
        raise OSError(f"block 7 of {case} is damaged")

    made = source(small_store, cases=("b",))
    collect(made, range(1))
    small_store.on_read = fail
    with pytest.raises(TrainingError, match="block 7 of b is damaged") as caught:
        collect(made, range(41, 44), workers=workers)
    message = str(caught.value)
    assert "step 41" in message
    assert "cases of this batch: b, b, b" in message
    assert "read_box" in message
    assert multiprocessing.active_children() == []


@pytest.fixture
def no_endless_wait():
    """What would wait for ever fails, long after any machine is done."""

    def give_up(*_):
        pytest.fail("still waiting for a worker that is dead")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("no_endless_wait")
def test_a_killed_worker_is_an_error_and_nobody_takes_its_place(small_store, tmp_path):
    made, parent, deaths = source(small_store), os.getpid(), tmp_path / "deaths"

    def die(_):
        with deaths.open("a") as file:
            file.write(f"{os.getpid()}\n")
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    small_store.on_read = die
    with pytest.raises(TrainingError, match="a process that makes batches died") as caught:
        collect(made, range(3), workers=1)
    (dead,) = deaths.read_text().split()  # read once, by the worker
    assert f" {dead})" in str(caught.value)
    assert multiprocessing.active_children() == []


def test_a_worker_killed_while_the_network_is_busy_is_the_same_error(small_store):
    def train():
        with Batches(source(small_store), range(1000), workers=1) as batches:
            next(batches)
            (worker,) = multiprocessing.active_children()
            os.kill(worker.pid, signal.SIGKILL)
            for _ in range(200):
                time.sleep(0.05)

    with pytest.raises(TrainingError, match="a process that makes batches died"):
        train()
    assert multiprocessing.active_children() == []


def test_a_source_can_be_sent_to_a_spawned_worker(small_store):
    made = source(small_store, sampler=SamplerPlan(name="hard-location"))
    made.sampler.update({"a": np.array([[12, 15, 13]])})
    assert_equal([made.batch(3)], [pickle.loads(pickle.dumps(made)).batch(3)])


def test_leaving_early_stops_the_workers(small_store):
    with Batches(source(small_store), range(1000), workers=2) as batches:
        next(batches)
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []

    def interrupted():
        with Batches(source(small_store), range(1000), workers=1) as batches:
            next(batches)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert multiprocessing.active_children() == []


def test_batches_are_iterated_inside_their_context(small_store):
    with pytest.raises(RuntimeError, match="with"):
        next(Batches(source(small_store), range(3)))


def test_a_batch_goes_to_a_device_in_a_layout() -> None:
    batch = Batch(
        image=torch.randn(2, 3, 4, 5, 6),
        target=torch.zeros(2, 1, 4, 5, 6, dtype=torch.int16),
        cases=("a", "b"),
        starts=((0, 0, 0), (1, 2, 3)),
        step=7,
    )
    placed = batch.to("cpu", torch.channels_last_3d)
    assert placed.image.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(placed.image, batch.image)
    assert (placed.cases, placed.starts, placed.step) == (batch.cases, batch.starts, batch.step)


def test_batches_are_drawn_around_classes_that_were_looked_for(small_store):
    made = [
        make(small_store, ("a", "b", "c"), configuration(), SCHEME, seed=0, annotated={"a": (name,)})
        for make in (training_source, validation_source)
        for name in SCHEME.foreground
    ]
    for one, name in zip(made, [*SCHEME.foreground] * 2, strict=True):
        drawn = [draw for step in range(60) for draw in one.draws(step) if draw.forced is not None]
        assert {draw.forced for draw in drawn if draw.case == "a"} <= {name}
        assert {draw.forced for draw in drawn if draw.case != "a"} == set(SCHEME.foreground)
