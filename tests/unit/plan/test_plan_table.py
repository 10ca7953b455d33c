from __future__ import annotations

from collections.abc import Callable

import pytest
from plugin_networks import PLUG_INS
from random_runs import configuration as small

from autoseg import plugins
from autoseg.cli.tables import plan_rows
from autoseg.data.labels import LabelScheme
from autoseg.plan.layers import note_unknown_networks
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


TOLD_LINES = ("receptive field", "parameters", "multiply-adds per step", "memory, mixed precision")
PLANNED_LINES = ("stages", "features")


@pytest.mark.parametrize("there", [True, False])
def test_what_a_network_does_not_tell_is_not_known(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", PLUG_INS if there else {})
    (row,) = rows = describe(plan_of({"2d": small(2, "two-layers")}))
    assert (row.receptive_field, row.parameters, row.multiply_adds, row.memory, row.stages) == (None,) * 5
    assert row.sees_whole_patch  # nothing is claimed to be missing
    lines = dict(plan_rows(rows))
    assert {lines[heading] for heading in (*TOLD_LINES, *PLANNED_LINES)} == {"not known"}
    assert (lines["network"], lines["patch"]) == ("two-layers", "8 x 8")


def test_what_a_network_tells_stands_beside_what_another_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", PLUG_INS)
    names = {"told": "two-layers-told", "silent": "two-layers", "unet": "plain-unet"}
    rows = describe(plan_of({name: small(2, network) for name, network in names.items()}))
    lines = {heading: values for heading, *values in plan_rows(rows)}
    assert lines["receptive field"] == ["5 x 5", "not known", "5 x 5"]  # of the U-Net: 1 + 2 + 2
    assert lines["parameters"][:2] == ["55", "not known"]
    assert lines["stages"] == ["not known", "not known", "2"]  # it does not say whether the stages are its own


def test_the_networks_of_other_tasks_have_no_lines_of_costs() -> None:
    rows = describe(plan_of({"2d": small(2, "registration")}).with_(task="registration"))
    headings = [heading for heading, _ in plan_rows(rows)]
    assert not set(headings) & set(TOLD_LINES)
    assert set(PLANNED_LINES) < set(headings)


def test_a_plan_says_which_networks_do_not_tell_their_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", PLUG_INS)
    names = {"a": "two-layers", "b": "two-layers-told", "c": "two-layers", "d": "plain-unet"}
    plan = plan_of({name: small(2, network) for name, network in names.items()})
    (note,) = note_unknown_networks(plan).warnings
    assert note.startswith("a, c: the network two-layers does not tell its layers")
    known = plan.with_(configurations={name: plan.configurations[name] for name in ("b", "d")})
    assert note_unknown_networks(known) == known
    other = plan.with_(task="registration")
    assert note_unknown_networks(other) == other
