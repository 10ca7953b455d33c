"""Labels that differ by side, and the axis that is then not mirrored."""

from __future__ import annotations

import pytest

from autoseg.data.labels import LabelScheme
from autoseg.plan.mirroring import respect_sides, sided_pairs, with_mirror_axes
from autoseg.plan.record import ConfigurationPlan, Plan, TransformPlan


def configuration(dimension: int) -> ConfigurationPlan:
    one = (1,) * dimension
    axes = tuple(range(dimension))
    return ConfigurationPlan(
        spacing=(1.0,) * dimension, median_shape=(16.0,) * dimension, patch_size=(16,) * dimension, batch_size=2,
        strides=(one,), kernel_sizes=((3,) * dimension,), features_per_stage=(8,), blocks_per_stage=(2,),
        decoder_blocks_per_stage=(), normalization=("z-score",), use_mask_for_norm=(False,), batch_dice=False,
        augmentation=(
            TransformPlan(name="gamma", probability=0.3), TransformPlan(name="mirror", options={"axes": list(axes)}),
        ),
        mirror_axes=axes,
    )  # fmt: skip


def plan_of(*names: str, order: tuple[int, int, int] = (0, 1, 2), **labels: object) -> Plan:
    scheme = LabelScheme(names={"background": 0} | {name: i + 1 for i, name in enumerate(names)}, **labels)
    return Plan(
        dataset="phantom", planner="default", channels=("CT",), labels=scheme, dimension=3, transpose_forward=order,
        intensities=(), file_ending=".nii.gz", configurations={"2d": configuration(2), "3d_fullres": configuration(3)},
        warnings=("earlier",),
    )  # fmt: skip


KIDNEYS = ("kidney_left", "kidney_right")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        KIDNEYS,
        ("LeftHippocampus", "RightHippocampus"),
        ("Left-Lateral-Ventricle", "Right-Lateral-Ventricle"),
        ("lung_upper_lobe_left", "lung_upper_lobe_right"),
        ("L hippocampus", "R hippocampus"),
        ("ctx-lh-insula", "ctx-rh-insula"),
        ("Lt. Parotid", "Rt. Parotid"),
        ("OpticNrv_L", "OpticNrv_R"),
        ("rib_left_12", "rib_right_12"),
        ("LEFT KIDNEY", "RIGHT KIDNEY"),
        ("left kidney", "Kidney (R)"),
        ("left", "right"),
        ("LKidney", "RKidney"),
    ],
)
def test_names_that_differ_by_side(left: str, right: str) -> None:
    assert sided_pairs(["liver", right, left, "spleen"]) == ((left, right),)


@pytest.mark.parametrize(
    "names",
    [
        ("leftover", "rightover"),
        ("bright", "bleft"),
        ("upright", "upleft"),
        ("left atrium", "right ventricle"),
        ("left atrium",),
        ("vertebra L1", "vertebra L2", "rib 1"),
        ("rib_left_1", "rib_right_2"),
        ("left-right shunt", "shunt"),
        ("left kidney", "left kidney cyst"),
        ("RV", "LV cavity"),
        (),
    ],
)
def test_names_that_do_not(names: tuple[str, ...]) -> None:
    assert sided_pairs(names) == ()
    plan = plan_of(*names)
    assert respect_sides(plan, 2) is plan


def axes_of(plan: Plan, name: str) -> tuple[int, ...]:
    """The mirrored axes; the transform must say the same."""
    made = plan.configurations[name]
    steps = [step.options["axes"] for step in made.augmentation if step.name == "mirror"]
    assert steps == ([list(made.mirror_axes)] if made.mirror_axes else [])
    assert made.augmentation[0].name == "gamma"
    return made.mirror_axes


@pytest.mark.parametrize(
    ("order", "axis", "volume", "plane"),
    [
        ((0, 1, 2), 2, (0, 1), (0,)),
        ((0, 1, 2), 1, (0, 2), (1,)),
        ((0, 1, 2), 0, (1, 2), (0, 1)),  # sagittal slices: no axis of a slice runs from left to right
        ((2, 0, 1), 2, (1, 2), (0, 1)),  # x comes first in the plan
        ((1, 0, 2), 0, (0, 2), (1,)),
        ((0, 1, 2), None, (), ()),
    ],
)
def test_the_axis_is_found_in_the_plans_order(
    order: tuple[int, int, int], axis: int | None, volume: tuple[int, ...], plane: tuple[int, ...]
) -> None:
    plan = respect_sides(plan_of(*KIDNEYS, order=order), axis)
    assert axes_of(plan, "3d_fullres") == volume
    assert axes_of(plan, "2d") == plane


def test_the_notice_names_the_labels_and_the_way_back() -> None:
    warnings = respect_sides(plan_of(*KIDNEYS, "liver"), 2).warnings
    assert warnings[0] == "earlier"
    for words in ("kidney_left / kidney_right", "(x) is not mirrored", "--set training.mirror_axes=zyx"):
        assert words in warnings[1]
    many = respect_sides(plan_of(*(f"rib_{side}_{n}" for n in range(5) for side in ("left", "right"))), None)
    assert "and 2 more pairs" in many.warnings[1]
    assert "do not agree" in many.warnings[1]


def test_regions_over_both_sides_may_be_mirrored() -> None:
    plan = plan_of(*KIDNEYS, regions={"kidneys": (1, 2)}, region_order=(1,))
    assert respect_sides(plan, 2) is plan
    plan = plan_of(*KIDNEYS, regions={"left lung": (1,), "right lung": (2,)}, region_order=(1, 2))
    assert axes_of(respect_sides(plan, 2), "3d_fullres") == (0, 1)


def test_the_transform_is_changed_dropped_and_added_again() -> None:
    steps = configuration(3).augmentation
    dropped = with_mirror_axes(steps, ())
    assert [step.name for step in dropped] == ["gamma"]
    assert with_mirror_axes(dropped, (0, 1, 2)) == steps
    assert with_mirror_axes(steps, (1,))[1].options["axes"] == [1]
