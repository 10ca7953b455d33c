from __future__ import annotations

import math

import pytest

from benchmarks.peer.records import Floor, Measured, Row, Section, Unit
from benchmarks.peer.render import benchmarks_page, performance_page, printed


def row(**changes: object) -> Row:
    values = {"setting": "a", "unit": Unit.SECONDS, "ours": (1.0, 2.0, 9.0), "peer": (8.0, 4.0, 8.0)}
    return Row.model_validate(values | changes)


def test_ratio_is_of_medians_and_says_how_many_times_better():
    assert row().ratio == 4
    assert row(unit=Unit.RATE).ratio == 0.25
    assert row(unit=Unit.DICE, ours=(0.9,), peer=(0.7,)).ratio == pytest.approx(0.2)
    assert math.isnan(row(peer=()).ratio)


@pytest.mark.parametrize(
    ("changes", "met"),
    [
        ({}, None),
        ({"required": 4.0}, True),
        ({"required": 4.1}, False),
        ({"required": 4.0, "agrees": False}, False),
        ({"required": 1.0, "peer": ()}, False),
        ({"required_memory": 0.25, "ours_peak_mb": 25.0, "peer_peak_mb": 100.0}, True),
        ({"required_memory": 0.25, "ours_peak_mb": 26.0, "peer_peak_mb": 100.0}, False),
        ({"required_memory": 0.25}, False),
        ({"unit": Unit.DICE, "required": 0.0, "required_ours": 2.5}, False),
        ({"unit": Unit.DICE, "required": 0.0, "required_ours": 2.0, "peer": (1.0,)}, True),
    ],
)
def test_a_row_is_met_if_all_that_is_asked_holds(changes, met):
    assert row(**changes).met is met


def test_distance_from_the_floor_of_times_and_rates():
    floor = Floor(seconds=0.5, how="a sum")
    assert row(floor=floor).above_floor == 4
    assert row(floor=floor, unit=Unit.RATE, ours=(1.0,)).above_floor == 2


def test_pages_show_figures_what_falls_short_and_the_floor():
    rows = (row(required=5.0, agreement="equal"), row(setting="b", floor=Floor(seconds=1, how="8 GB / 8 GB/s")))
    section = Section(work="The work.", rows=rows, profile=("reading 80 %",))
    machine = {"processor": "P", "copy": "50 GB/s"}
    one = Measured(name="n", title="Title", section=section, machine=machine, date="2026-01-02", minutes=1)
    page, limits = benchmarks_page([one]), performance_page([one])
    assert "| a | 2.00 s [1.00-9.00] | 8.00 s [4.00-8.00] | 4.00x | 5x: **falls short** |  | equal |" in page
    assert "| b | 2.00 s [1.00-9.00] | 1.00 s | 2.0 | 8 GB / 8 GB/s |" in limits
    assert "reading 80 %" in limits
    assert "processor P" in page
    assert "falls short" in printed(one)
