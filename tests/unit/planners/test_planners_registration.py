"""The planner of learned registration."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import pytest

from autoseg.data.labels import LabelScheme
from autoseg.errors import PlanError
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.context import PlanContext
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.tasks.registration.learned.settings import LearnedPlan
from planners.registration import plan

Make = Callable[..., Fingerprint]

SHAPES = [(36, 50, 35), (30, 59, 40), (43, 41, 33)]
BOTH = {"liver": (0, 1, 2), "tumour": (1,)}


def only(made: Plan) -> ConfigurationPlan:
    (configuration,) = made.configurations.values()
    return configuration


def network(configuration: ConfigurationPlan) -> LearnedPlan:
    return LearnedPlan(
        shape=configuration.patch_size,
        spacing=configuration.spacing,
        features=configuration.features_per_stage,
        batch_size=configuration.batch_size,
        **configuration.options,
    )


def test_the_grid_holds_every_case(fingerprint: Make, labels: LabelScheme) -> None:
    made = plan(fingerprint(SHAPES, present=BOTH), labels, PlanContext())
    assert (made.task, made.planner, tuple(made.configurations)) == ("registration", "registration", ("3d_fullres",))
    configuration = only(made)
    assert configuration.spacing == (1.0, 1.0, 1.0)
    assert all(size >= longest for size, longest in zip(configuration.patch_size, (43, 59, 40), strict=True))
    found = network(configuration)
    assert all(size % found.divisor == 0 for size in found.shape)
    assert prod(found.shape) < 2 * 43 * 59 * 40


def test_labels_take_part_where_every_case_has_them(fingerprint: Make, labels: LabelScheme) -> None:
    with_labels = only(plan(fingerprint(SHAPES, present=BOTH), labels, PlanContext())).options
    assert (with_labels["supervision"], with_labels["labels"]) == ("labels", 2)
    data = fingerprint(SHAPES, present=BOTH)
    first, *others = data.cases
    partly = data.with_(cases=(first.with_(class_voxels={}), *others))
    some = dict([*first.class_voxels.items()][:1])
    for lacking in (partly, data.with_(cases=(first.with_(class_voxels=some), *others))):
        without = only(plan(lacking, labels, PlanContext())).options
        assert (without["supervision"], without["labels"]) == ("none", 0)


def test_little_memory_and_little_time_make_the_grid_coarser(fingerprint: Make, labels: LabelScheme) -> None:
    data = fingerprint([(200, 256, 256)] * 3, [(3.0, 1.0, 1.0)] * 3)
    full = only(plan(data, labels, PlanContext(memory_gb=200.0)))
    assert full.spacing == (3.0, 1.0, 1.0)
    small = plan(data, labels, PlanContext(memory_gb=4.0))
    quick = plan(data, labels, PlanContext(device="cpu", budget_seconds=300))
    for made in (small, quick):
        assert tuple(made.configurations) == ("3d_lowres",)
        assert any("coarser" in warning for warning in made.warnings)
        size = [n * mm for n, mm in zip(only(made).patch_size, only(made).spacing, strict=True)]
        assert all(length >= needed - 1e-6 for length, needed in zip(size, (600, 256, 256), strict=True))
    assert prod(only(quick).patch_size) < prod(only(small).patch_size) < prod(full.patch_size)
    assert only(small).spacing[1] <= only(small).spacing[0]
    assert network(only(quick)).shape == only(quick).patch_size


@pytest.mark.parametrize("shape", [(1, 300, 200), (1, 20, 9), (1, 5, 5)])
def test_planes_have_a_network_of_two_axes_as_deep_as_they_allow(
    shape: tuple[int, ...], fingerprint: Make, labels: LabelScheme
) -> None:
    data = fingerprint([shape] * 2, [(999.0, 1.0, 1.0)] * 2).with_(dimension=2)
    made = plan(data, labels, PlanContext())
    assert tuple(made.configurations) == ("2d",)
    found = network(only(made))
    assert found.dimension == 2
    assert all(size >= length for size, length in zip(found.shape, shape[1:], strict=True))
    assert all(size < length + found.divisor for size, length in zip(found.shape, shape[1:], strict=True))


def test_few_cases_are_augmented_and_mirrored_only_where_sides_are_not_named(fingerprint: Make) -> None:
    def made(count: int, names: LabelScheme) -> ConfigurationPlan:
        data = fingerprint([(40, 40, 40)] * count)
        cases = [case.with_(left_right_axis=2) for case in data.cases]
        return only(plan(data.with_(cases=cases), names, PlanContext()))

    one = LabelScheme(names={"background": 0, "liver": 1})
    sided = LabelScheme(names={"background": 0, "kidney_left": 1, "kidney_right": 2})
    assert made(10, one).augmentation[0].name == "spatial"
    assert made(10, one).mirror_axes == (2,)
    assert made(10, sided).mirror_axes == ()
    assert made(100, one).mirror_axes == ()


def test_many_cases_are_augmented_only_where_labels_could_be_learnt_by_heart(
    fingerprint: Make, labels: LabelScheme
) -> None:
    shapes = SHAPES * 34
    with_labels = only(plan(fingerprint(shapes, present=BOTH), labels, PlanContext()))
    data = fingerprint(shapes, present=BOTH)
    bare = data.with_(cases=[case.with_(class_voxels={}) for case in data.cases])
    assert [step.name for step in with_labels.augmentation][:1] == ["spatial"]
    assert only(plan(bare, labels, PlanContext())).augmentation == ()


def test_nothing_to_plan_for(fingerprint: Make, labels: LabelScheme) -> None:
    with pytest.raises(PlanError, match="no case"):
        plan(fingerprint([(40, 40, 40)]).with_(cases=()), labels, PlanContext())
