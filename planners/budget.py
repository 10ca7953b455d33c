"""A planner for little time or a slow device: the largest reduction of the default plan that still gets enough steps.

A network of nnU-Net's size on a laptop's processor takes tens of seconds per step and would see a few dozen batches in
an hour. A smaller one that is trained to the end is better, so width, batch and patch shrink until enough steps fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from autoseg.data.labels import LabelScheme
from autoseg.fingerprint.record import Fingerprint
from autoseg.plan.context import PlanContext
from autoseg.plan.cost import multiply_adds
from autoseg.plan.layers import input_channels
from autoseg.plan.record import ConfigurationPlan, Plan
from planners import default
from planners.cascade import FULL_RESOLUTION, second_stage
from planners.ladder import SMALL_BATCH, ladder
from planners.sampling import rare_classes_first

LEAST_STEPS = 1500
"""Optimiser steps that a model must get, however short the budget."""

BATCH_STEPS = 15_000
"""Steps that must fit before time is spent on batches larger than the smallest: until then more steps serve better."""

MAX_MEASUREMENTS = 4
"""Candidates that are timed for one configuration."""

_SLACK = 1.25
"""A candidate that leaves more than this unused lets the next larger one be tried."""

MULTIPLY_ADDS_PER_SECOND = {"cpu": 1.5e10, "mps": 3e11, "cuda": 4e12}
"""Throughput taken for granted before a measurement: two processor cores, a laptop's and a small data centre's GPU."""

Work = Callable[[ConfigurationPlan], int]


@dataclass(frozen=True)
class BudgetChoice:
    """The candidate chosen for a configuration.

    Attributes:
        configuration: the candidate.
        seconds: seconds per step, measured or estimated.
        measured: whether `seconds` was measured.
    """

    configuration: ConfigurationPlan
    seconds: float
    measured: bool


def plan(fingerprint: Fingerprint, labels: LabelScheme, context: PlanContext) -> Plan:
    """The default plan, each configuration reduced until enough steps fit into `context.budget_seconds`.

    Enough are `target_steps`, or `BATCH_STEPS` for a batch above the smallest. Candidates are ordered by their
    multiply-adds; those near the limit are timed with `context.seconds_per_step`, or judged by a cautious throughput
    where nothing can be timed. Without a budget, and where the budget suffices, sizes are the default's. What was
    reduced stands in the plan's warnings.

    Raises:
        PlanError: nothing can be planned for the fingerprint.
    """
    full = default.plan(fingerprint, labels, context)
    if context.budget_seconds is None:
        note = "no time budget was given: the sizes are those of the default planner"
        return full.with_(planner="budget", warnings=(*full.warnings, note))

    def work(configuration: ConfigurationPlan) -> int:
        channels = input_channels(configuration, len(fingerprint.channels), labels)
        return multiply_adds(configuration, channels, labels.outputs)

    throughput = MULTIPLY_ADDS_PER_SECOND.get(context.device, MULTIPLY_ADDS_PER_SECOND["cpu"])
    sampler = rare_classes_first(fingerprint)
    chosen: dict[str, ConfigurationPlan] = {}
    notes = list(full.warnings)
    for name, configuration in full.configurations.items():
        if configuration.previous_stage is not None:
            chosen[name] = second_stage(chosen[FULL_RESOLUTION], labels)
            continue
        choice = choose(configuration, context.budget_seconds, context.seconds_per_step, throughput, work)
        chosen[name] = choice.configuration.with_(sampler=sampler)
        notes += _notes(name, configuration, choice, context.budget_seconds)
        if choice.measured and isfinite(choice.seconds):
            throughput = work(choice.configuration) / choice.seconds
    return full.with_(planner="budget", configurations=chosen, warnings=tuple(notes))


def choose(
    configuration: ConfigurationPlan,
    budget: float,
    measure: Callable[[ConfigurationPlan], float] | None,
    throughput: float,
    work: Work,
) -> BudgetChoice:
    """The largest reduction of a configuration that gets enough steps; the smallest where none does.

    Args:
        configuration: the largest candidate.
        budget: seconds of training.
        measure: seconds per step of a candidate, infinite where it does not fit the memory; called at most
            `MAX_MEASUREMENTS` times. None means that the throughput is trusted.
        throughput: multiply-adds per second expected before a measurement.
        work: multiply-adds of a candidate's step.
    """
    candidates = ladder(default.DEFAULT, configuration)
    works = [work(candidate) for candidate in candidates]
    limits = [budget / _steps_needed(candidate, budget) for candidate in candidates]
    timed: dict[int, float] = {}

    def first_affordable(start: int, stop: int) -> int | None:
        return next((index for index in range(start, stop) if works[index] <= limits[index] * throughput), None)

    first, best = 0, len(works)  # candidates before `first` are too slow, `best` is known to be fast enough
    while measure is not None and first < best and len(timed) < MAX_MEASUREMENTS:
        index = first_affordable(first, best)
        if index is None and best < len(works) and timed[best] * _SLACK > limits[best]:
            break
        # Nothing larger seems to fit, but a small network uses the device badly, so that its pace says little about
        # the next larger one: with time to spare that one is timed too.
        index = best - 1 if index is None else index
        seconds = timed[index] = measure(candidates[index])
        if isfinite(seconds):
            throughput = works[index] / seconds
        first, best = (first, index) if seconds <= limits[index] else (index + 1, best)
    affordable = best if best < len(works) else first_affordable(first, best)
    index = len(works) - 1 if affordable is None else affordable
    return BudgetChoice(candidates[index], timed.get(index, works[index] / throughput), measured=index in timed)


def target_steps(seconds: float) -> int:
    """Optimiser steps worth having in a budget: more time goes half into more steps, half into a larger network.

    Calibrated on the hippocampus (benchmarks/short_training.py): in 270 s, 1700 steps of a network of base 16 score
    0.012 Dice more than 600 steps of base 32.
    """
    return max(LEAST_STEPS, round(150 * seconds**0.5))


def _steps_needed(candidate: ConfigurationPlan, seconds: float) -> int:
    small = candidate.batch_size <= SMALL_BATCH[candidate.dimension]
    return target_steps(seconds) if small else max(BATCH_STEPS, target_steps(seconds))


def _notes(name: str, full: ConfigurationPlan, choice: BudgetChoice, budget: float) -> list[str]:
    """What was reduced and why, in words; nothing where nothing was."""
    small = choice.configuration
    changes = []
    if small.batch_size != full.batch_size:
        changes.append(f"batch {full.batch_size} -> {small.batch_size}")
    if small.features_per_stage[0] != full.features_per_stage[0]:
        changes.append(f"first features {full.features_per_stage[0]} -> {small.features_per_stage[0]}")
    if small.patch_size != full.patch_size:
        changes.append(f"patch {_by(full.patch_size)} -> {_by(small.patch_size)}")
    steps = int(budget / choice.seconds)
    how = "measured" if choice.measured else "estimated"
    pace = f"about {steps} steps of {choice.seconds:.2g} s ({how}) fit into {budget:.0f} s of training"
    notes = [f"{name}: reduced for the time budget ({', '.join(changes)}): {pace}"] if changes else []
    if steps < LEAST_STEPS:
        notes.append(f"{name}: {pace}, fewer than the {LEAST_STEPS} a model needs; give it more time")
    return notes


def _by(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in sizes)
