"""The stages before training: check, fingerprint, plan, preprocess. Each reads and writes the run folder."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal

from autoseg import plugins
from autoseg.data.annotation_table import never_looked_for
from autoseg.data.dataset import Dataset, Reading
from autoseg.data.discovery import discover
from autoseg.data.labels import LabelScheme
from autoseg.data.leakage import PATIENTS, seen_test_images
from autoseg.data.problem import Problem, format_problems
from autoseg.data.splits import SplitRule, check_rule, load_splits, make_splits, save_splits
from autoseg.errors import ConfigurationError, DatasetError, WorkspaceError
from autoseg.fingerprint.record import Fingerprint
from autoseg.fingerprint.scan import Scan, scan
from autoseg.log import counted, logger
from autoseg.pipeline.choices import choose_configurations, count_workers
from autoseg.plan.context import PlanContext
from autoseg.plan.layers import input_channels, note_unknown_networks
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.plan.sharing import store_of
from autoseg.preprocessing.prepare import preprocess_dataset
from autoseg.workspace import Run


def check(dataset: Path, *, workers: int | None = None, reading: Reading | None = None) -> tuple[Problem, ...]:
    """Every problem of a data set, after reading each file once. Nothing is changed.

    Args:
        dataset: folder in one of the accepted layouts.
        workers: processes; None chooses.
        reading: how files are read where they leave a choice.
    """
    data, count = discover(dataset, reading=reading), count_workers(workers)
    result = scan(data, workers=count)
    return *result.problems, *seen_test_images(data, result.checked, workers=count)


def fingerprint_dataset(
    dataset: Path,
    out: Path,
    *,
    workers: int | None = None,
    rule: SplitRule | None = None,
    labelled: bool = True,
    reading: Reading | None = None,
) -> Fingerprint:
    """Checks and measures a data set; writes dataset.json, fingerprint.json and splits.json into the run folder.

    Args:
        dataset: folder in one of the accepted layouts.
        out: run folder.
        workers: processes; None chooses.
        rule: how to split; None keeps splits that are there, else makes nnU-Net's.
        labelled: whether an image without a label is an error; if not, it is a training case like the others.
        reading: how files are read where they leave a choice; kept in dataset.json for all that follows.

    Raises:
        DatasetError: `check` finds errors; all of them are in the message.
    """
    run, data = Run(out), discover(dataset, labelled=labelled, reading=reading)
    if rule is not None:
        check_rule(data.identifiers, rule)  # before the images are read
    fingerprint = without_errors(
        scan(data, workers=count_workers(workers)), "the data set has", where=dataset,
        remedy="mend them and run the command again; `autoseg check --all` shows each without starting",
        settled=PATIENTS if rule is not None and (rule.file or rule.group_by) else frozenset(),
    )  # fmt: skip
    data.save(run.dataset)
    fingerprint.save(run.fingerprint)
    _split(run, data, fingerprint, rule)
    for warning in fingerprint.warnings:
        logger.info("note: %s", warning)
    return fingerprint


def without_errors(
    result: Scan, subject: str, *, where: Path, remedy: str, settled: Collection[str] = ()
) -> Fingerprint:
    """The fingerprint of a scan that found no error; what else it found is logged.

    Args:
        subject: how the message begins, as in "the data set has".
        where, remedy: of the message.
        settled: codes of problems that need not be told.

    Raises:
        DatasetError: it found errors; all of them are in the message.
    """
    errors = [problem for problem in result.problems if problem.severity == "error"]
    for line in format_problems(
        [one for one in result.problems if one.severity != "error" and one.code not in settled]
    ):
        logger.log(logging.INFO if line.startswith("note:") else logging.WARNING, "%s", line)
    if errors or result.fingerprint is None:
        lines = "\n".join(format_problems(errors))
        raise DatasetError(f"{subject} {counted(len(errors), 'error')}:\n{lines}", where=where, remedy=remedy)
    return result.fingerprint


def _split(run: Run, data: Dataset, fingerprint: Fingerprint, rule: SplitRule | None) -> None:
    """Writes splits.json; one that is there stays unless the user asks for something else."""
    if len(data.training) < 2 or (run.splits.exists() and rule in (None, SplitRule())):
        return
    rule = rule or SplitRule()
    splits = make_splits(data.identifiers, rule, fingerprint.classes)
    save_splits(run.splits, splits)
    for number, split in enumerate(splits):
        missing = never_looked_for([case for case in data.training if case.id in split.train], data.labels)
        if missing:
            logger.warning(
                "no training case of fold %d is annotated for %s: it cannot be trained; --stratify or --splits makes "
                "other folds", number, ", ".join(missing),
            )  # fmt: skip


def check_splits(run: Run, rule: SplitRule | None) -> None:
    """Refuses to go on with a run whose folds are not those that a rule makes.

    Raises:
        ConfigurationError: they are others.
    """
    if rule is None or rule == SplitRule() or not run.splits.exists():
        return
    cases = load_dataset(run).identifiers
    splits = make_splits(cases, rule, Fingerprint.load(run.fingerprint).classes)
    if list(load_splits(run.splits, cases)) != list(splits):
        raise ConfigurationError(
            "the run was begun with other folds than those asked for",
            where=run.splits,
            got=rule.file or "choices about splits that divide the cases otherwise",
            remedy="leave the choices about splits out to go on with the run's own folds, or give another --out",
        )


def split_names(run: Run) -> tuple[str, ...]:
    """Names of the folds of the run's splits."""
    path = run.require(run.splits, "autoseg fingerprint DATASET --out RUN")
    return tuple(str(number) for number in range(len(load_splits(path, load_dataset(run).identifiers))))


def make_plan(
    out: Path,
    *,
    planner: str | None = None,
    budget: float | None = None,
    device: str = "auto",
    memory: float | Literal["auto"] | None = None,
    cascade: bool = False,
) -> Plan:
    """Plans from the fingerprint and writes plan.json.

    Args:
        out: run folder with a fingerprint.
        planner: plug-in; None takes "budget" on a CPU or with a budget, else "default".
        budget: seconds that one model may train.
        device: where it will train.
        memory: accelerator memory in GB to plan for, "auto" for that of the device; None as the planner has it.
        cascade: plan a cascade also where the patch covers enough of the images.

    Raises:
        PlanError: nothing can be planned, or a cascade for 2D data.
        ConfigurationError: the memory of a device that does not tell it.
    """
    run = Run(out)
    dataset = load_dataset(run)
    fingerprint = Fingerprint.load(run.require(run.fingerprint, "autoseg fingerprint DATASET --out RUN"))
    if planner is None:
        planner = "budget" if budget is not None else "default"
    context = PlanContext(
        memory_gb=_memory_of(device) if memory == "auto" else memory,
        budget_seconds=budget,
        file_ending=dataset.label_ending,
        cascade=cascade,
    )
    if budget is not None:
        context = _measured_context(context, fingerprint, dataset.labels, device)
    plan = note_unknown_networks(plugins.resolve("planner", planner)(fingerprint, dataset.labels, context))
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
    for name in dict.fromkeys(store_of(plan, name) for name in names):
        preprocess_dataset(dataset, plan, name, run.preprocessed(name), fingerprint, workers=count_workers(workers))
    return names


def load_dataset(run: Run) -> Dataset:
    """The run's data set.

    Raises:
        WorkspaceError: there is none, or the run holds a model that was imported without its data.
    """
    dataset = Dataset.load(run.require(run.dataset, "autoseg fingerprint DATASET --out RUN"))
    if not dataset.training:
        raise WorkspaceError(
            "the run holds an imported model without training data",
            where=run.root,
            remedy="to go on training with its plan and weights: `autoseg plan-and-train DATASET --out OTHER "
            f"--pretrained {run.root}`; or give this run data: `autoseg fingerprint DATASET --out {run.root}`, then "
            "preprocess and train",
        )
    return dataset


def load_plan(run: Run) -> Plan:
    """The run's plan."""
    return Plan.load(run.require(run.plan, "autoseg plan RUN"))


def _memory_of(device: str) -> float:
    from autoseg.training.runtime import device_memory_gb, find_device

    memory = device_memory_gb(find_device(device))
    if memory is None:
        raise ConfigurationError(
            "this device does not tell its memory",
            got=find_device(device),
            expected="a CUDA device",
            remedy="give the memory to plan for, such as --memory 24GB",
        )
    return memory


def _measured_context(context: PlanContext, fingerprint: Fingerprint, labels: LabelScheme, device: str) -> PlanContext:
    """The context with a stop-watch for candidates."""
    # PyTorch is imported here, where a network is timed; the other stages answer without waiting for it.
    from autoseg.training.measure import training_step
    from autoseg.training.runtime import base_runtime, find_device, seconds_of, steady_runtime

    runtime = steady_runtime(base_runtime(find_device(device)))

    def seconds_per_step(candidate: ConfigurationPlan) -> float:
        step = training_step(
            candidate, input_channels(candidate, len(fingerprint.channels), labels), fingerprint.outputs
        )
        return seconds_of(lambda: step(runtime), repeats=5, patience=1.0)

    return replace(context, device=runtime.device, seconds_per_step=seconds_per_step)
