from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import inf

import pytest

from autoseg.data.labels import LabelScheme
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.context import PlanContext
from autoseg.plan.cost import multiply_adds
from autoseg.plan.record import ConfigurationPlan
from planners import budget, default
from planners.ladder import WIDTHS, ladder

Make = Callable[..., Fingerprint]


def work(configuration: ConfigurationPlan) -> int:
    return multiply_adds(configuration, 1, 3)


class StopWatch:
    """A device of a given speed; counts how often it is asked."""

    def __init__(self, throughput: float, overhead: float = 0.0, memory: float = inf) -> None:
        self.throughput, self.overhead, self.memory = throughput, overhead, memory
        self.calls: list[ConfigurationPlan] = []

    def __call__(self, candidate: ConfigurationPlan) -> float:
        self.calls.append(candidate)
        return inf if work(candidate) > self.memory else work(candidate) / self.throughput + self.overhead


@pytest.fixture
def volumes(fingerprint: Make) -> Fingerprint:
    return fingerprint([(100, 180, 180)] * 20)


@pytest.fixture
def full(volumes: Fingerprint, labels: LabelScheme) -> dict[str, ConfigurationPlan]:
    return default.plan(volumes, labels, PlanContext()).configurations


@pytest.mark.parametrize("name", ["2d", "3d_fullres"])
def test_every_rung_is_cheaper_and_a_valid_network(name: str, full: dict[str, ConfigurationPlan]) -> None:
    rungs = ladder(default.DEFAULT, full[name])
    works = [work(rung) for rung in rungs]
    assert rungs[0] == full[name]
    assert all(later < earlier for earlier, later in pairwise(works))
    assert works[0] / works[-1] > 100
    assert rungs[-1].features_per_stage[0] == WIDTHS[-1]
    assert rungs[-1].batch_size == 2
    for rung in rungs:
        assert len(rung.strides) == len(rung.kernel_sizes) == len(rung.features_per_stage) == rung.stages
        assert len(rung.decoder_blocks_per_stage) == rung.stages - 1
        for axis, edge in enumerate(rung.patch_size):
            divisor = 1
            for stride in rung.strides:
                divisor *= stride[axis]
            assert edge % divisor == 0


def test_a_fast_device_gets_the_default_plan(
    volumes: Fingerprint, labels: LabelScheme, full: dict[str, ConfigurationPlan]
) -> None:
    context = PlanContext(device="cuda", budget_seconds=3600, seconds_per_step=StopWatch(1e15))
    plan = budget.plan(volumes, labels, context)
    assert plan.planner == "budget"
    assert plan.configurations == full
    assert plan.warnings == ()


@pytest.mark.parametrize("throughput", [1e10, 3e10, 3e11, 3e12])
def test_choice_is_the_largest_that_gets_enough_steps(throughput: float, full: dict[str, ConfigurationPlan]) -> None:
    configuration, seconds = full["3d_fullres"], 3600.0
    watch = StopWatch(throughput)
    choice = budget.choose(configuration, seconds, watch, 1.5e10, work)
    rungs = ladder(default.DEFAULT, configuration)
    index = rungs.index(choice.configuration)
    assert choice.measured
    assert len(watch.calls) <= budget.MAX_MEASUREMENTS
    assert seconds / choice.seconds >= budget.target_steps(seconds)
    if index > 0:
        larger = rungs[index - 1]
        needed = budget.BATCH_STEPS if larger.batch_size > 2 else budget.target_steps(seconds)
        assert seconds / (work(larger) / throughput) < needed


def test_overhead_that_work_does_not_show_is_measured(full: dict[str, ConfigurationPlan]) -> None:
    watch = StopWatch(1e11, overhead=0.5)
    choice = budget.choose(full["3d_fullres"], 1500.0, watch, 1e11, work)
    assert choice.measured
    assert choice.seconds <= 1.0


def test_candidates_that_do_not_fit_the_memory_are_passed_over(full: dict[str, ConfigurationPlan]) -> None:
    watch = StopWatch(1e15, memory=1e12)
    choice = budget.choose(full["3d_fullres"], 3600.0, watch, 2e11, work)
    assert work(choice.configuration) <= 1e12


def test_the_smallest_is_taken_and_said_when_nothing_fits(volumes: Fingerprint, labels: LabelScheme) -> None:
    context = PlanContext(device="cpu", budget_seconds=5, seconds_per_step=StopWatch(1e9))
    plan = budget.plan(volumes, labels, context)
    for name, configuration in plan.configurations.items():
        assert configuration == ladder(default.DEFAULT, default.plan(volumes, labels, context).configurations[name])[-1]
        assert any(warning.startswith(f"{name}: about ") and "more time" in warning for warning in plan.warnings)


def test_without_a_stop_watch_the_throughput_is_trusted(volumes: Fingerprint, labels: LabelScheme) -> None:
    seconds = 1800.0
    plan = budget.plan(volumes, labels, PlanContext(device="cpu", budget_seconds=seconds))
    for configuration in plan.configurations.values():
        assert work(configuration) * budget.target_steps(seconds) <= seconds * budget.MULTIPLY_ADDS_PER_SECOND["cpu"]
    assert all("(estimated)" in warning for warning in plan.warnings)
    assert any("first features 32 -> " in warning for warning in plan.warnings)


def test_more_time_never_makes_a_smaller_model(volumes: Fingerprint, labels: LabelScheme) -> None:
    works = [
        work(budget.plan(volumes, labels, PlanContext(device="cpu", budget_seconds=time)).configurations["3d_fullres"])
        for time in (60, 600, 6000, 60_000, 600_000, 6_000_000)
    ]
    assert works == sorted(works)
    assert works[0] < works[-1]


def test_augmentation_follows_the_reduced_patch(volumes: Fingerprint, labels: LabelScheme) -> None:
    plan = budget.plan(volumes, labels, PlanContext(device="cpu", budget_seconds=60)).configurations["3d_fullres"]
    flat = max(plan.patch_size) / plan.patch_size[0] > 3
    assert plan.augmentation[0].options["dummy_2d"] is flat


def test_rare_classes_are_weighted_in_a_short_training(fingerprint: Make, labels: LabelScheme) -> None:
    data = fingerprint([(64, 64, 64)] * 8, present={"liver": range(8), "tumour": [3]})
    plan = budget.plan(data, labels, PlanContext(device="cpu", budget_seconds=600))
    assert plan.configurations["3d_fullres"].sampler.class_weights == {"liver": 1.0, "tumour": 4.0}


def test_without_a_budget_sizes_are_the_defaults(
    volumes: Fingerprint, labels: LabelScheme, full: dict[str, ConfigurationPlan]
) -> None:
    plan = budget.plan(volumes, labels, PlanContext(device="cpu"))
    assert plan.configurations == full
    assert "no time budget" in plan.warnings[0]
