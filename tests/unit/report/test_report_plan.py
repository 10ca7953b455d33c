"""The section about the plan says of a network what it tells of itself, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from plugin_networks import PLUG_INS

from autoseg import plugins
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.report.build import write_report
from autoseg.report.network import draw
from autoseg.report.plan_section import PlanSection, plan_section
from autoseg.workspace import Run

STAGES = (
    "stages",
    "features per stage",
    "strides",
    "kernel sizes",
    "encoder blocks per stage",
    "decoder blocks per stage, deepest first",
    "deep supervision",
)
COSTS = (
    "receptive field [voxels]",
    "parameters",
    "multiply-adds per step",
    "training memory, estimated (mixed precision)",
)


def _plan(run: Run, **networks: str) -> Plan:
    plan = Plan.load(run.plan)
    (one,) = plan.configurations.values()
    return plan.with_(configurations={name: one.with_(network=network) for name, network in networks.items()})


def _rows(section: PlanSection) -> dict[str, tuple[str, ...]]:
    return dict(section.rows)


@pytest.mark.parametrize("there", [True, False])
def test_a_network_that_tells_nothing_is_neither_drawn_nor_described(
    finished_run: Run, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_registered", PLUG_INS if there else {})
    _plan(finished_run, **{"3d_fullres": "two-layers"}).save(finished_run.plan)
    write_report(finished_run)
    page = finished_run.report.read_text(encoding="utf-8")
    (section,) = re.findall(r'<section id="plan">.*?</section>', page, flags=re.DOTALL)
    cells = dict(re.findall(r'<th class="text" scope="row">([^<]*)</th><td[^>]*>([^<]*)</td>', section))
    assert {cells[heading] for heading in (*STAGES, *COSTS)} == {"not known"}
    assert cells["network"] == "two-layers"
    assert "<svg" not in section
    assert "skip connections" not in section
    assert "theoretical receptive field" not in page
    assert "3d_fullres: a patch covers" in section


def test_what_is_told_stands_beside_what_is_not(finished_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", PLUG_INS)
    section = plan_section(_plan(finished_run, a="plain-unet", b="two-layers-told", c="two-layers"))
    rows = _rows(section)
    assert rows["receptive field [voxels]"][1:] == ("5 × 5 × 5", "not known")
    # 27 x 4 weights and 4 biases, then a head of 4 x 3 and 3
    assert rows["parameters"][1:] == ("127", "not known")
    assert [name for name, _ in section.drawings] == ["a"]
    assert rows["stages"] == ("3", "not known", "not known")
    assert "receptive field of 5 × 5 × 5 is smaller than the patch along z, y, x" in section.views[1]
    assert "receptive field" not in section.views[2]


def test_a_linear_readout_has_the_encoder_of_the_plan_and_no_decoder(finished_run: Run) -> None:
    section = plan_section(_plan(finished_run, a="linear-readout"))
    rows = _rows(section)
    assert section.drawings == ()
    assert rows["features per stage"] == ("8 · 16 · 32",)
    assert rows["decoder blocks per stage, deepest first"] == ("–",)
    assert {rows[heading] for heading in COSTS} == {("not known",)}


def test_blocks_are_called_convolutions_where_the_layers_say_so(
    small_network: ConfigurationPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(network: str) -> str:
        return draw(small_network.with_(network=network), 1, 3).encoder[0].blocks

    silent = replace(plugins.resolve("network", "plain-unet"), layers=None)
    monkeypatch.setattr(plugins, "_registered", {"network": {"silent-unet": silent}})
    assert first("plain-unet") == "2 convs 1 × 3 × 3"
    assert first("residual-encoder-unet") == first("silent-unet") == "2 blocks 1 × 3 × 3"
