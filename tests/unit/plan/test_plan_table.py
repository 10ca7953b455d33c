from __future__ import annotations

from collections.abc import Callable

from autoseg.data.labels import LabelScheme
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.plan.table import describe


def plan_of(configurations: dict[str, ConfigurationPlan]) -> Plan:
    return Plan(
        dataset="phantom",
        planner="default",
        channels=("CT",),
        labels=LabelScheme(names={"background": 0, "organ": 1, "tumour": 2}),
        dimension=3,
        transpose_forward=(0, 1, 2),
        intensities=(),
        file_ending=".nii.gz",
        configurations=configurations,
    )


def test_a_row_for_every_configuration(configuration: Callable[..., ConfigurationPlan]) -> None:
    strides, kernels = ((1, 1, 1), (2, 2, 2)), ((3, 3, 3), (3, 3, 3))
    single = configuration((16, 16, 16), strides, kernels, (4, 8), (2, 2), (2,), batch_size=2)
    cascade = single.with_(previous_stage="3d_lowres")
    first, second = describe(plan_of({"3d_fullres": single, "3d_cascade_fullres": cascade}))
    assert (first.name, second.name) == ("3d_fullres", "3d_cascade_fullres")
    # two 3x3x3 convolutions at full and two at half resolution: 1 + 2 + 2 + 2 + 4 = 11 voxels
    assert first.receptive_field == (11, 11, 11)
    assert not first.sees_whole_patch
    # the cascade has one input channel more for each of two labels: 2 * 4 kernels of 27 more
    assert second.parameters - first.parameters == 2 * 4 * 27
    assert second.multiply_adds > first.multiply_adds
    assert second.memory > first.memory


def test_a_plan_without_configurations_has_no_rows() -> None:
    assert describe(plan_of({})) == ()
