"""Plans for networks that somebody else registers: by the layers that they tell, else as for a U-Net, and said so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from plugin_networks import PLUG_INS, two_layers

from autoseg import plugins
from autoseg.data.labels import LabelScheme
from autoseg.fingerprint.record import Fingerprint
from autoseg.networks.family import NetworkFamily
from autoseg.networks.unet_layers import plain_layers
from autoseg.plan.context import PlanContext
from autoseg.plan.record import Plan
from planners.default import DEFAULT
from planners.nnunet import plan_with


@pytest.fixture
def planned(
    monkeypatch: pytest.MonkeyPatch, fingerprint: Callable[..., Fingerprint], labels: LabelScheme
) -> Callable[..., Plan]:
    """The default planner's plan with another network."""
    monkeypatch.setattr(plugins, "_registered", PLUG_INS)
    data = fingerprint([(60, 180, 200)] * 30)

    def make(network: str, family: Any = None, **changes: Any) -> Plan:
        if family is not None:
            monkeypatch.setattr(plugins, "_registered", {"network": {network: family}})
        return plan_with(replace(DEFAULT, network=network, **changes), data, labels, PlanContext())

    return make


def _sizes(plan: Plan) -> dict[str, tuple[object, ...]]:
    return {name: (one.patch_size, one.batch_size, one.strides) for name, one in plan.configurations.items()}


def test_told_layers_of_a_plain_unet_lead_to_its_plan(planned: Callable[..., Plan]) -> None:
    """The sum over layers is nnU-Net's yardstick, which is computed without them."""
    plain, told = planned("plain-unet"), planned("copy", NetworkFamily(two_layers, layers=plain_layers))
    assert _sizes(told) == _sizes(plain)
    assert told.warnings == plain.warnings


def test_a_network_of_fewer_features_gets_larger_patches(planned: Callable[..., Plan]) -> None:
    plain, light = planned("plain-unet"), planned("two-layers-told")
    assert min(_voxels(light)) > max(_voxels(plain))
    assert light.warnings == plain.warnings


def _voxels(plan: Plan) -> Iterable[int]:
    volume = plan.configurations["3d_fullres"]
    yield volume.batch_size * volume.patch_size[0] * volume.patch_size[1] * volume.patch_size[2]


def test_a_network_that_tells_nothing_is_planned_as_a_plain_unet_and_the_plan_says_so(
    planned: Callable[..., Plan],
) -> None:
    plain, silent = planned("plain-unet"), planned("two-layers")
    assert _sizes(silent) == _sizes(plain)
    (note,) = set(silent.warnings) - set(plain.warnings)
    assert note.startswith("the network two-layers does not tell its layers")
    assert "plain U-Net" in note
