"""What a device makes of a whole batch against what workers make of each sample, from the same parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from memory_store import MemoryStore
from scipy.ndimage import gaussian_filter
from torch.utils._python_dispatch import TorchDispatchMode

from autoseg import plugins
from autoseg.batches.augment.intensity import Brightness, Contrast, Gamma, GaussianBlur, GaussianNoise, LowResolution
from autoseg.batches.augment.on_device import TWINS, divide, moved
from autoseg.batches.augment.policy import Policy, Step
from autoseg.batches.augment.spatial import Mirror, Spatial
from autoseg.batches.augment.transform import Sample
from autoseg.batches.loading import Batches
from autoseg.batches.source import Batch, training_source, validation_source
from autoseg.batches.staging import one_ahead
from autoseg.data.labels import OUTSIDE, LabelScheme
from autoseg.errors import TrainingError
from autoseg.plan.record import ConfigurationPlan, TransformPlan
from autoseg.training.config import TrainingConfig

LABELS = 12  # more than a cell has corners
SCHEME = LabelScheme(names={"background": 0, **{f"part {value}": value for value in range(1, LABELS + 1)}})
VALUES = (
    TransformPlan(name="gaussian-blur", probability=0.5),
    TransformPlan(name="brightness", probability=0.5),
    TransformPlan(name="contrast", probability=0.5),
    TransformPlan(name="low-resolution", probability=0.5),
    TransformPlan(name="gamma", probability=0.5, options={"invert": True}),
    TransformPlan(name="gamma", probability=0.5),
)
NOISE = TransformPlan(name="gaussian-noise", probability=0.5)
MIRROR = TransformPlan(name="mirror", options={"axes": [0, 1]})
PATCHES = [(16, 20, 12), (24, 20), (6, 28, 24)]


def spatial(patch):
    flat = len(patch) == 3 and max(patch) > 3 * min(patch)
    options = {"rotation_probability": 0.6, "scaling_probability": 0.6, "dummy_2d": flat}
    return TransformPlan(name="spatial", options=options)


WHOLE = (spatial(PATCHES[0]), NOISE, *VALUES, MIRROR)


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    """Two cases of two smooth channels and labels of many values, smaller than a rotated patch may reach."""
    rng, cases = np.random.default_rng(0), {}
    for name, shape in {"a": (24, 30, 26), "b": (20, 28, 34)}.items():
        image = np.stack([3 * gaussian_filter(rng.standard_normal(shape), 1) for _ in range(2)]).astype(np.float32)
        levels = np.linspace(-0.2, 0.2, LABELS)
        labels = np.digitize(gaussian_filter(rng.standard_normal(shape), 2.5), levels).astype(np.int16)
        labels[0] = OUTSIDE
        cases[name] = (image, labels)
    return MemoryStore(cases, {name: value for name, value in SCHEME.names.items() if value})


def source(store, augmentation, patch=PATCHES[0], make=training_source, **changes):
    dimension = len(patch)
    configuration = ConfigurationPlan(
        spacing=(1.0,) * dimension,
        median_shape=patch,
        patch_size=patch,
        batch_size=5,
        strides=((1,) * dimension,),
        kernel_sizes=((3,) * dimension,),
        features_per_stage=(8,),
        blocks_per_stage=(2,),
        decoder_blocks_per_stage=(),
        normalization=("z-score", "z-score"),
        use_mask_for_norm=(True, False),
        batch_dice=False,
        augmentation=augmentation,
    )
    return make(store, ("a", "b"), configuration, SCHEME, seed=0, **changes)


def on_device(made, step, samples=None) -> Batch:
    return made.transform(made.read(step, samples), "cpu")


def assert_close(found, expected, atol=1e-3):
    assert (found.cases, found.starts, found.step) == (expected.cases, expected.starts, expected.step)
    assert (found.image.dtype, found.target.dtype) == (torch.float32, torch.int16)
    assert torch.equal(found.target, expected.target)
    assert torch.allclose(found.image, expected.image, atol=atol)


@pytest.mark.parametrize("patch", PATCHES)
def test_a_batch_equals_that_of_the_workers(store, patch):
    made = source(store, (spatial(patch), *VALUES, MIRROR), patch)
    cropped = 0
    for step in range(6):
        raw = made.read(step)
        cropped += 0 if raw.boxes is None else len(raw.boxes.image)
        assert_close(made.transform(raw, "cpu"), made.batch(step))
    assert 10 < cropped < 30  # patches of both kinds


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_batches_of_boxes_alone_and_of_patches_alone(store, probability):
    options = {"rotation_probability": probability, "scaling_probability": 0.0}
    made = source(store, (TransformPlan(name="spatial", options=options), MIRROR))
    for step in range(2):
        assert_close(on_device(made, step), made.batch(step), atol=1e-4)


@pytest.mark.parametrize(
    "transform",
    [GaussianBlur(), Brightness(), Contrast(), LowResolution(), LowResolution(dummy_2d=True), Gamma(),
     Gamma(invert=True), Mirror(axes=(0, 1))],
    ids=lambda transform: type(transform).__name__,
)  # fmt: skip
@pytest.mark.parametrize("shape", [(9, 14, 11), (1, 12, 2), (15, 8)])
def test_each_transform_equals_its_twin(transform, shape):
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.standard_normal((6, 2, *shape)).astype(np.float32))
    images[0, 0] = 4.0  # a constant channel
    labels = torch.from_numpy(rng.integers(0, 5, (6, 1, *shape)).astype(np.int16))
    drawn = [None if i == 2 else transform.draw(rng, (2, *shape)) for i in range(6)]
    expected = [
        Sample(image.clone(), label.clone()) if parameters is None
        else transform.apply(Sample(image.clone(), label.clone()), parameters)
        for image, label, parameters in zip(images, labels, drawn, strict=True)
    ]  # fmt: skip
    packed = moved(TWINS[type(transform)].pack(transform, drawn, (2, *shape)), torch.Tensor.contiguous)
    TWINS[type(transform)].apply(images, labels, *packed)
    assert torch.allclose(images, torch.stack([sample.image for sample in expected]), atol=2e-5)
    assert torch.equal(labels, torch.stack([sample.labels for sample in expected]))


def test_nothing_drawn_is_nothing_to_do():
    for kind, twin in TWINS.items():
        assert twin.pack(kind(), [None, None], (2, 8, 8)) is None


def test_noise_has_its_strength_and_depends_on_its_seed_alone():
    transform = GaussianNoise()
    twin = TWINS[GaussianNoise]
    drawn = [replace(transform.draw(np.random.default_rng(i), (1, 40, 40, 40)), sigma=0.1 * i) for i in range(3)]
    many, alone = torch.zeros(3, 1, 40, 40, 40), torch.zeros(1, 1, 40, 40, 40)
    twin.apply(many, many.short(), *twin.pack(transform, drawn, (1, 40, 40, 40)))
    twin.apply(alone, alone.short(), *twin.pack(transform, drawn[2:], (1, 40, 40, 40)))
    assert many.std((1, 2, 3, 4)).tolist() == pytest.approx([0, 0.1, 0.2], rel=0.02)
    assert many.mean((1, 2, 3, 4)).tolist() == pytest.approx([0, 0, 0], abs=5e-3)
    assert torch.equal(many[2], alone[0])


def test_a_step_gives_the_same_bits_again(store):
    made = source(store, WHOLE)
    first = [on_device(made, step) for step in range(3)]
    again = on_device(source(store, WHOLE), 2)
    assert torch.equal(first[2].image, again.image)
    assert torch.equal(first[2].target, again.target)
    assert not torch.equal(first[1].image, again.image)


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_hands_out_batches_of_the_device(store, workers):
    made = source(store, WHOLE)
    with Batches(made, range(3, 7), workers=workers, device="cpu") as batches:
        found = list(batches)
    assert [batch.step for batch in found] == [3, 4, 5, 6]
    for batch in found:
        expected = on_device(made, batch.step)
        assert torch.equal(batch.image, expected.image)
        assert torch.equal(batch.target, expected.target)


def test_shares_of_a_batch_make_the_whole(store):
    made = source(store, WHOLE)
    whole, parts = on_device(made, 1), [on_device(made, 1, share) for share in (range(2), range(2, 5))]
    assert torch.equal(whole.target, torch.cat([part.target for part in parts]))
    assert torch.allclose(whole.image, torch.cat([part.image for part in parts]), atol=1e-4)


class _NoLooking(TorchDispatchMode):
    """Refuses operations whose result's shape, or the program's way, depends on values: they wait for a device."""

    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique", "aten.index.Tensor", "equal")

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        assert not any(name in str(operation) for name in self.waiting), operation
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("patch", PATCHES)
def test_the_device_is_never_waited_for(store, patch):
    made = source(store, (spatial(patch), NOISE, *VALUES, MIRROR), patch)
    raw = made.read(0)
    with _NoLooking():
        made.transform(raw, "cpu")
        with pytest.raises(AssertionError, match="local_scalar_dense"):
            float(raw.image.mean())


@dataclass(frozen=True)
class Offset:
    """A researcher's transform, which knows nothing of batches."""

    by: float = 1.0

    def draw(self, rng, shape):
        return self.by * rng.random()

    def apply(self, sample, parameters):
        sample.image.add_(parameters)
        return sample


def test_workers_go_up_to_the_last_transform_without_a_twin(store, monkeypatch):
    real = plugins.resolve
    monkeypatch.setattr(
        "autoseg.batches.augment.policy.resolve", lambda kind, name: Offset if name == "offset" else real(kind, name)
    )
    made = source(store, (spatial(PATCHES[0]), VALUES[1], TransformPlan(name="offset"), *VALUES, MIRROR))
    division = divide(made.policy)
    assert [type(step.transform) for step in division.before.steps] == [Spatial, Brightness, Offset]
    assert not division.crops
    assert len(division.steps) == len(VALUES) + 1
    for step in range(3):
        assert made.read(step).boxes is None
        assert_close(on_device(made, step), made.batch(step))


def test_what_is_left_to_a_device():
    steps = {kind: Step(kind()) for kind in (Spatial, Gamma, Mirror, Offset)}

    def divided(*kinds):
        found = divide(Policy(tuple(steps[kind] for kind in kinds)))
        return len(found.before.steps), found.crops, len(found.steps), found.helps

    assert divided() == (0, False, 0, False)
    assert divided(Spatial) == (0, True, 0, True)
    assert divided(Spatial, Gamma, Mirror) == (0, True, 2, True)
    assert divided(Gamma, Spatial, Mirror) == (2, False, 1, True)  # only the first step reads boxes
    assert divided(Spatial, Gamma, Offset) == (3, False, 0, False)


def test_sources_that_have_nothing_for_a_device_stay_with_the_workers(store):
    plain = source(store, (spatial(PATCHES[0]), MIRROR), make=validation_source)
    assert not plain.can_use_device
    with Batches(plain, range(2), device="cpu") as batches:
        assert torch.equal(next(batches).image, plain.batch(0).image)
    cascade = replace(source(store, (spatial(PATCHES[0]), MIRROR)), previous=object())
    assert not cascade.can_use_device


def test_an_item_is_made_before_the_one_before_it_is_handed_out():
    made = []

    def make():
        if len(made) == 3:
            raise StopIteration
        made.append(len(made))
        return made[-1]

    seen = [(item, len(made)) for item in one_ahead(make)]
    assert seen == [(0, 2), (1, 3), (2, 3)]


def test_an_item_that_cannot_be_made_is_told_of_in_its_turn():
    left = [1, 2]

    def make():
        if not left:
            raise TrainingError("broken")
        return left.pop(0)

    items = one_ahead(make)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(TrainingError, match="broken"):
        next(items)
    assert list(one_ahead(iter(()).__next__)) == []


def test_a_cuda_device_augments_unless_told_otherwise():
    def used(**chosen):
        config = TrainingConfig(**chosen)
        return [config.augments_on(device) for device in ("cpu", "mps", "cuda", "cuda:1")]

    assert used() == [False, False, True, True]
    assert used(augmentation_on="workers") == [False] * 4
    assert used(augmentation_on="device") == [True] * 4
