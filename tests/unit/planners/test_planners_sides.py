"""Left and right in the plans of every planner."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autoseg.batches.augment.policy import build_policy
from autoseg.data.labels import LabelScheme
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.context import PlanContext
from autoseg.plan.record import ConfigurationPlan
from autoseg.plugins import names, resolve
from autoseg.training.choices import chosen_configuration
from autoseg.training.config import TrainingConfig

Make = Callable[..., Fingerprint]

SIDED = LabelScheme(names={"background": 0, "kidney_left": 1, "kidney_right": 2})


def mirrored_axes(configuration: ConfigurationPlan) -> tuple[int, ...]:
    """The mirrored axes, which prediction and augmentation must agree on."""
    steps = [step.options["axes"] for step in configuration.augmentation if step.name == "mirror"]
    assert steps == ([list(configuration.mirror_axes)] if configuration.mirror_axes else [])
    build_policy(configuration.augmentation)
    return configuration.mirror_axes


def oriented(fingerprint: Fingerprint, axis: int | None) -> Fingerprint:
    return fingerprint.with_(cases=[case.with_(left_right_axis=axis) for case in fingerprint.cases])


@pytest.mark.parametrize("planner", sorted({*names("planner")} - {"registration"}))
def test_no_planner_mirrors_left_and_right(planner: str, fingerprint: Make) -> None:
    data = oriented(fingerprint([(400, 500, 500)] * 3), 2)
    plan = resolve("planner", planner)(data, SIDED, PlanContext())
    assert {name: mirrored_axes(item) for name, item in plan.configurations.items()} == {
        "2d": (0,), "3d_lowres": (0, 1), "3d_fullres": (0, 1), "3d_cascade_fullres": (0, 1),
    }  # fmt: skip
    assert sum("--set training.mirror_axes=zyx" in warning for warning in plan.warnings) == 1


def test_the_axis_is_followed_through_the_plans_order(fingerprint: Make) -> None:
    data = oriented(fingerprint([(180, 180, 40)] * 9, [(1.0, 1.0, 5.0)] * 9), 2)  # thick sagittal slices
    plan = resolve("planner", "default")(data, SIDED, PlanContext())
    assert plan.transpose_forward == (2, 0, 1)
    assert mirrored_axes(plan.configurations["3d_fullres"]) == (1, 2)
    assert mirrored_axes(plan.configurations["2d"]) == (0, 1)


@pytest.mark.parametrize("axis", [2, None])
def test_a_reduced_patch_keeps_the_choice(axis: int | None, fingerprint: Make) -> None:
    data = oriented(fingerprint([(100, 180, 180)] * 20), axis)
    full = resolve("planner", "default")(data, SIDED, PlanContext())
    plan = resolve("planner", "budget")(data, SIDED, PlanContext(device="cpu", budget_seconds=60))
    assert plan.configurations["3d_fullres"].patch_size != full.configurations["3d_fullres"].patch_size
    for name in plan.configurations:
        assert mirrored_axes(plan.configurations[name]) == mirrored_axes(full.configurations[name])
    assert mirrored_axes(plan.configurations["3d_fullres"]) == ((0, 1) if axis == 2 else ())


@pytest.mark.parametrize("axis", [2, None])
def test_the_user_can_mirror_them_all_the_same(axis: int | None, fingerprint: Make) -> None:
    data = oriented(fingerprint([(180, 180, 40)] * 9, [(1.0, 1.0, 5.0)] * 9), axis)
    plan = resolve("planner", "default")(data, SIDED, PlanContext())

    def chosen(name: str, letters: str) -> tuple[int, ...]:
        return mirrored_axes(chosen_configuration(plan, name, TrainingConfig(mirror_axes=letters)))

    assert chosen("3d_fullres", "zyx") == (0, 1, 2)
    assert chosen("2d", "zyx") == (0, 1)
    assert chosen("3d_fullres", "x") == (0,)
    assert chosen("2d", "x") == ()
    assert chosen("3d_fullres", "none") == ()
    plan = resolve("planner", "default")(data, LabelScheme(names={"background": 0, "liver": 1}), PlanContext())
    assert mirrored_axes(plan.configurations["3d_fullres"]) == (0, 1, 2)
    assert chosen_configuration(plan, "2d", TrainingConfig()) is plan.configurations["2d"]
