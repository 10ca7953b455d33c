"""The stages before training: check, fingerprint, plan, preprocess. Each reads and writes the run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autoseg import plugins
from autoseg.data.check import Problem, format_problem
from autoseg.data.dataset import Dataset
from autoseg.data.discovery import discover
from autoseg.data.splits import k_fold, save_splits
from autoseg.errors import DatasetError
from autoseg.fingerprint.record import Fingerprint
from autoseg.fingerprint.scan import scan
from autoseg.log import logger
from autoseg.pipeline.choices import choose_configurations, count_workers
from autoseg.plan.context import PlanContext
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.preprocessing.prepare import preprocess_dataset
from autoseg.workspace import Run


def check(dataset: Path, *, workers: int | None = None) -> tuple[Problem, ...]:
    """Every problem of a data set, after reading each file once. Nothing is changed."""
    return scan(discover(dataset), workers=count_workers(workers)).problems


def fingerprint_dataset(dataset: Path, out: Path, *, workers: int | None = None) -> Fingerprint:
    """Checks and measures a data set; writes dataset.json, fingerprint.json and splits.json into the run folder.

    Raises:
        DatasetError: `check` finds errors; all of them are in the message.
    """
    run, data = Run(out), discover(dataset)
    result = scan(data, workers=count_workers(workers))
    errors = [problem for problem in result.problems if problem.severity == "error"]
    for problem in result.problems:
        if problem.severity != "error":
            logger.warning("%s", format_problem(problem))
    if errors or result.fingerprint is None:
        lines = "\n".join(format_problem(problem) for problem in errors)
        raise DatasetError(
            f"the data set has {len(errors)} error(s):\n{lines}",
            where=dataset,
            remedy="mend them and run the command again; `autoseg check` shows this list without starting",
        )
    data.save(run.dataset)
    result.fingerprint.save(run.fingerprint)
    if not run.splits.exists() and len(data.training) > 1:
        save_splits(run.splits, k_fold(data.identifiers))
    for warning in result.fingerprint.warnings:
        logger.info("note: %s", warning)
    return result.fingerprint


def make_plan(out: Path, *, planner: str | None = None, budget: float | None = None, device: str = "auto") -> Plan:
    """Plans from the fingerprint and writes plan.json.

    Args:
        out: run folder with a fingerprint.
        planner: plug-in; None takes "budget" on a CPU or with a budget, else "default".
        budget: seconds that one model may train.
        device: where it will train.
    """
    run = Run(out)
    dataset = Dataset.load(run.require(run.dataset, "autoseg fingerprint DATASET --out RUN"))
    fingerprint = Fingerprint.load(run.require(run.fingerprint, "autoseg fingerprint DATASET --out RUN"))
    if planner is None:
        planner = "budget" if budget is not None else "default"
    context = PlanContext(file_ending=dataset.label_ending, budget_seconds=budget)
    if budget is not None:
        context = _measured_context(context, fingerprint, device)
    plan: Plan = plugins.resolve("planner", planner)(fingerprint, dataset.labels, context)
    plan.save(run.plan)
    for warning in plan.warnings:
        logger.info("plan: %s", warning)
    return plan


def preprocess(out: Path, *, configurations: str = "auto", workers: int | None = None) -> tuple[str, ...]:
    """Preprocesses the data set for the chosen configurations; finished cases are kept. Returns their names."""
    run = Run(out)
    dataset, plan = load_dataset(run), load_plan(run)
    fingerprint = Fingerprint.load(run.require(run.fingerprint, "autoseg fingerprint DATASET --out RUN"))
    names = choose_configurations(plan, configurations)
    for name in names:
        preprocess_dataset(dataset, plan, name, run.preprocessed(name), fingerprint, workers=count_workers(workers))
    return names


def load_dataset(run: Run) -> Dataset:
    """The run's data set."""
    return Dataset.load(run.require(run.dataset, "autoseg fingerprint DATASET --out RUN"))


def load_plan(run: Run) -> Plan:
    """The run's plan."""
    return Plan.load(run.require(run.plan, "autoseg plan RUN"))


def _measured_context(context: PlanContext, fingerprint: Fingerprint, device: str) -> PlanContext:
    """The context with a stop-watch for candidates."""
    # PyTorch is imported here, where a network is timed; the other stages answer without waiting for it.
    from autoseg.training.measure import training_step
    from autoseg.training.runtime import base_runtime, find_device, seconds_of, steady_runtime

    runtime = steady_runtime(base_runtime(find_device(device)))

    def seconds_per_step(candidate: ConfigurationPlan) -> float:
        step = training_step(candidate, len(fingerprint.channels), fingerprint.outputs)
        return seconds_of(lambda: step(runtime), repeats=5, patience=1.0)

    return replace(context, device=runtime.device, seconds_per_step=seconds_per_step)
