"""Augmentation on a CUDA device; skipped where there is none."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from autoseg import pipeline
from autoseg.batches.augment.intensity import GaussianNoise
from autoseg.batches.augment.policy import Policy
from autoseg.batches.loading import Batches
from autoseg.batches.source import Source, training_source
from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.plan.record import Plan
from autoseg.preprocessing.store import Store
from autoseg.workspace import Run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The planned augmentation, each transform made frequent."""
    folder = tmp_path_factory.mktemp("augmentation")
    dataset, run = folder / "dataset", Run(folder / "run")
    write_phantom(dataset, PhantomOptions(cases=6, shape=(24, 40, 40)))
    pipeline.fingerprint_dataset(dataset, run.root, workers=1)
    pipeline.make_plan(run.root)
    pipeline.preprocess(run.root, configurations="3d_fullres", workers=1)
    plan = Plan.load(run.plan)
    configuration = plan.configurations["3d_fullres"]
    often = tuple(item.with_(probability=max(item.probability, 0.5)) for item in configuration.augmentation)
    store = Store(run.preprocessed("3d_fullres"))
    return training_source(store, store.cases, configuration.with_(augmentation=often), plan.labels, seed=0)


def test_a_batch_on_cuda_equals_that_of_the_workers(source: Source) -> None:
    steps = tuple(step for step in source.policy.steps if not isinstance(step.transform, GaussianNoise))
    made = dataclasses.replace(source, policy=Policy(steps))  # noise has the same law there, not the same values
    for step in range(4):
        found, expected = made.transform(made.read(step), "cuda"), made.batch(step)
        assert torch.allclose(found.image.cpu(), expected.image, atol=1e-2)
        assert (found.target.cpu() == expected.target).float().mean() > 0.9999


def test_batches_on_cuda_come_in_order_with_the_same_bits_and_without_waiting(source: Source) -> None:
    torch.cuda.set_sync_debug_mode("error")
    try:
        with Batches(source, range(2, 8), workers=2, pin_memory=True, device="cuda") as batches:
            found = list(batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [batch.step for batch in found] == list(range(2, 8))
    for batch in found:
        expected = source.transform(source.read(batch.step), "cuda")
        assert torch.equal(batch.image, expected.image)
        assert torch.equal(batch.target, expected.target)
