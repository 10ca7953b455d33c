"""A plan becomes a policy; the policy as a whole changes samples as nnU-Net's pipeline does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from batchgenerators.transforms.abstract_transforms import Compose
from batchgenerators.transforms.color_transforms import BrightnessMultiplicativeTransform
from batchgenerators.transforms.spatial_transforms import MirrorTransform

from autoseg import plugins
from autoseg.batches.augment.intensity import Brightness, GaussianNoise
from autoseg.batches.augment.interop import FromBatchgenerators, ToBatchgenerators
from autoseg.batches.augment.policy import Policy, Step, build_policy
from autoseg.batches.augment.spatial import Mirror
from autoseg.batches.augment.transform import Sample
from autoseg.errors import AutosegError, ConfigurationError, PluginError
from autoseg.plan.record import TransformPlan

# nnU-Net v2.8.1, nnUNetTrainer.get_training_transforms on `scene`, 6000 samples: 5, 25, 50, 75 and 95 % quantiles of
# what `describe` measures.
NNUNET = {
    "3d": {
        "patch": (16, 20, 16), "degrees": 30, "dummy_2d": False, "window": (28, 29, 25),
        "quantiles": [
            [0.1202, 0.3654, 0.3706, 0.3827, 0.6159], [1.045, 1.2216, 1.3023, 1.3023, 1.4659],
            [-0.2058, -0.1751, -0.1751, -0.1122, -0.0565], [0.6634, 0.7863, 0.806, 0.8097, 0.9346],
            [0.1953, 0.2308, 0.2506, 0.2511, 0.2959], [0.1624, 0.1985, 0.2168, 0.2205, 0.2551],
            [0.0547, 0.1109, 0.1121, 0.1121, 0.1703], [2.1161, 2.4178, 2.5757, 2.6815, 2.9409],
            [-0.2983, -0.2023, -0.1693, -0.1535, -0.1125],
        ],
    },
    "dummy 2d": {
        "patch": (6, 24, 20), "degrees": 180, "dummy_2d": True, "window": (6, 28, 28),
        "quantiles": [
            [0.1714, 0.3234, 0.3381, 0.3447, 0.5443], [1.0547, 1.2334, 1.3047, 1.3047, 1.4515],
            [-0.2157, -0.159, -0.1583, -0.1581, -0.1049], [0.8155, 0.9689, 1.0033, 1.0033, 1.142],
            [0.2381, 0.3021, 0.3289, 0.3309, 0.3604], [0.163, 0.2195, 0.2391, 0.2401, 0.2806],
            [0.1028, 0.1583, 0.1583, 0.1583, 0.2181], [2.1496, 2.4448, 2.5851, 2.648, 2.8939],
            [-0.3258, -0.2838, -0.2794, -0.2574, -0.2054],
        ],
    },
    "2d": {
        "patch": (24, 28), "degrees": 180, "dummy_2d": False, "window": (32, 32),
        "quantiles": [
            [0.1061, 0.2217, 0.2557, 0.2558, 0.3632], [0.8868, 1.0672, 1.1185, 1.1185, 1.2498],
            [-0.1648, -0.1251, -0.125, -0.1247, -0.0823], [0.8821, 1.0121, 1.0409, 1.0518, 1.2002],
            [0.1379, 0.1905, 0.2072, 0.2142, 0.2484], [0.1389, 0.1954, 0.2097, 0.2153, 0.2551],
            [0.0833, 0.125, 0.125, 0.125, 0.1667], [2.1398, 2.4307, 2.5846, 2.6276, 2.8673],
            [-0.3025, -0.2549, -0.2545, -0.2346, -0.178],
        ],
    },
}  # fmt: skip
PROBABILITIES = [0.05, 0.25, 0.5, 0.75, 0.95]


def nnunets_policy(patch, degrees, dummy_2d):
    """The default augmentation, spelled out with the options that a plan has."""
    options = [
        ("spatial", 1.0, {"rotation_degrees": degrees, "scaling": [0.7, 1.4], "dummy_2d": dummy_2d}),
        ("gaussian-noise", 0.1, {"variance": [0, 0.1]}),
        ("gaussian-blur", 0.2, {"sigma": [0.5, 1.0], "channel_probability": 0.5}),
        ("brightness", 0.15, {"factor": [0.75, 1.25]}),
        ("contrast", 0.15, {"factor": [0.75, 1.25]}),
        ("low-resolution", 0.25, {"zoom": [0.5, 1.0], "channel_probability": 0.5, "dummy_2d": dummy_2d}),
        ("gamma", 0.1, {"gamma": [0.7, 1.5], "invert": True}),
        ("gamma", 0.3, {"gamma": [0.7, 1.5], "invert": False}),
        ("mirror", 1.0, {"axes": list(range(len(patch)))}),
    ]
    return build_policy([TransformPlan(name=n, probability=p, options=o) for n, p, o in options])


def scene(window):
    shape = (1,) * (3 - len(window)) + window
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    labels = ((z / 5) ** 2 + (y / 7) ** 2 + (x / 4) ** 2 < 1).astype(np.int16)
    first = np.sin(z / 3) + np.cos(y / 4 + x / 5) + 2 * labels
    second = np.cos(z / 4) * np.sin(x / 3) - labels + 0.1 * y
    image = np.stack([first, second]).astype(np.float32)
    return image.reshape(2, *window), labels.reshape(window)


def read(image, labels, box):
    """The box of an image as a store reads it, the centre voxel being that of the window."""
    start = [n // 2 + s for n, s in zip(labels.shape, box.start, strict=True)]
    margin = 2  # a box reaches at most one voxel beyond the window
    part = tuple(slice(s + margin, s + margin + n) for s, n in zip(start, box.size, strict=True))
    image = np.pad(image, [(0, 0), *[(margin, margin)] * labels.ndim], mode="edge")[(slice(None), *part)]
    labels = np.pad(labels, margin, mode="edge")[part]
    return Sample(torch.from_numpy(image.copy()), torch.from_numpy(labels.copy())[None])


def describe(sample):
    a, b = sample.image.numpy().astype(np.float64)
    ball = sample.labels[0].numpy() == 1
    edges = [np.abs(np.diff(a, axis=axis)).mean() for axis in (0, -1)]
    in_ball = a[ball].mean() if ball.any() else 0
    correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    return [a.mean(), a.std(), b.mean(), b.std(), *edges, ball.mean(), in_ball, correlation]


@pytest.mark.parametrize("name", NNUNET)
def test_augmented_samples_are_distributed_as_nnunets(name):
    reference = NNUNET[name]
    patch, count = reference["patch"], 1500
    policy = nnunets_policy(patch, reference["degrees"], reference["dummy_2d"])
    assert policy.window(patch) == reference["window"]
    image, labels = scene(reference["window"])
    rows = []
    for number in range(count):
        drawn = policy.draw(np.random.default_rng((0, number)), (2, *patch))
        box = policy.box(drawn, patch)
        rows.append(describe(policy.apply(read(image, labels, box), drawn, box, patch)))
    for values, quantiles in zip(np.array(rows).T, reference["quantiles"], strict=True):
        for quantile, probability in zip(quantiles, PROBABILITIES, strict=True):
            # many samples are unchanged, so the distribution has steps: both sides of a quantile are looked at
            spread = 4.5 * np.sqrt(probability * (1 - probability) * (1 / count + 1 / 6000))
            assert np.mean(values <= quantile + 6e-4) >= probability - spread
            assert np.mean(values < quantile - 6e-4) <= probability + spread


def test_an_empty_policy_reads_the_patch_and_changes_nothing():
    policy = build_policy(())
    sample = Sample(torch.randn(1, 4, 5, 6), torch.zeros(1, 4, 5, 6, dtype=torch.int16))
    box = policy.box([], (4, 5, 6))
    assert (box.start, box.size, policy.window((4, 5, 6))) == ((-2, -2, -3), (4, 5, 6), (4, 5, 6))
    assert policy.apply(sample, policy.draw(np.random.default_rng(0), (1, 4, 5, 6)), box, (4, 5, 6)) is sample


def test_a_step_is_applied_as_often_as_its_probability_says():
    policy = Policy((Step(GaussianNoise(), 0.3), Step(Brightness(), 0.0)))
    drawn = [policy.draw(np.random.default_rng((1, n)), (1, 4, 4)) for n in range(2000)]
    assert np.mean([noise is not None for noise, _ in drawn]) == pytest.approx(0.3, abs=0.04)
    assert all(brightness is None for _, brightness in drawn)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (TransformPlan(name="gausian-noise"), "did you mean 'gaussian-noise'"),
        (TransformPlan(name="spatial", options={"rotation_degree": 30}), "did you mean 'rotation_degrees'"),
        (TransformPlan(name="gamma", options={"gamma": [0.7]}), r"augmentation.0 \(gamma\): gamma"),
        (TransformPlan(name="low-resolution", options={"zoom": [0.0, 1.0]}), "greater than 0"),
        (TransformPlan(name="gaussian-blur", options={"channel_probability": 2}), "less than or equal to 1"),
        (TransformPlan(name="mirror", options={"axes": [3]}), "less than or equal to 2"),
    ],
)
def test_wrong_plans_are_refused_by_name(plan, message):
    with pytest.raises(AutosegError, match=message):
        build_policy([plan])


@pytest.fixture
def registered(monkeypatch):
    """Plug-ins of kind "transform" for the time of one test."""
    monkeypatch.setattr(plugins, "_registered", {})
    return lambda name, plugin: plugins.register("transform", name)(plugin)


def test_a_transform_of_batchgenerators_can_stand_in_a_plan(registered):
    registered("bg-brightness", lambda low, high: BrightnessMultiplicativeTransform((low, high)))
    policy = build_policy([TransformPlan(name="bg-brightness", options={"low": 2.0, "high": 3.0})])
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    results = []
    for _ in range(2):
        sample = Sample(torch.ones(1, 4, 5, 6), torch.ones(1, 4, 5, 6, dtype=torch.int16))
        drawn = policy.draw(np.random.default_rng(4), (1, 4, 5, 6))
        results.append(policy.apply(sample, drawn, policy.box(drawn, (4, 5, 6)), (4, 5, 6)))
    factor = float(results[0].image[0, 0, 0, 0])
    assert 2 <= factor <= 3
    assert torch.equal(results[0].image, torch.full((1, 4, 5, 6), factor))
    assert torch.equal(results[0].image, results[1].image)
    assert results[0].labels.dtype == torch.int16
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    with pytest.raises(ConfigurationError, match="unexpected keyword"):
        build_policy([TransformPlan(name="bg-brightness", options={"lowest": 2.0})])


def test_what_is_no_transform_is_refused(registered):
    registered("number", lambda: 3)
    with pytest.raises(PluginError, match="is not a transform"):
        build_policy([TransformPlan(name="number")])


def test_transforms_stand_in_batchgenerators_compose():
    data = np.random.default_rng(0).standard_normal((3, 1, 6, 7, 8)).astype(np.float32)
    labels = (data > 0).astype(np.int8)
    compose = Compose(
        [ToBatchgenerators(Mirror(axes=(0, 1, 2))), MirrorTransform((0,)), ToBatchgenerators(Brightness())]
    )
    np.random.seed(3)  # noqa: NPY002
    first = compose(data=data.copy(), seg=labels.copy(), keys=["a", "b", "c"])
    np.random.seed(3)  # noqa: NPY002
    again = compose(data=data.copy(), seg=labels.copy())
    assert first["keys"] == ["a", "b", "c"]
    assert first["data"].shape == data.shape
    assert first["seg"].dtype == np.int8
    assert np.array_equal(first["data"], again["data"])
    assert not np.array_equal(first["data"], data)
    assert np.array_equal(first["data"] > 0, first["seg"] > 0)


def test_the_adapters_are_each_others_inverse():
    sample = Sample(torch.randn(2, 5, 6, 7), torch.ones(1, 5, 6, 7, dtype=torch.int16))
    there_and_back = FromBatchgenerators(ToBatchgenerators(Mirror(axes=(0,)), probability=1.0))
    results = [there_and_back.apply(sample, seed).image for seed in range(12)]
    assert {torch.equal(r, sample.image) for r in results} == {True, False}
    assert all(torch.equal(r, sample.image) or torch.equal(r, sample.image.flip(1)) for r in results)
