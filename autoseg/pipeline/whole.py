"""Everything in one call: from a data set's folder to the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from autoseg import plugins
from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.errors import WorkspaceError
from autoseg.evaluation.run import summarise_run
from autoseg.log import duration, logger
from autoseg.pipeline.choices import (
    CPU_SECONDS,
    Deadline,
    check_length,
    choose_configurations,
    choose_folds,
    count_jobs,
    training_share,
)
from autoseg.pipeline.stages import fingerprint_dataset, load_dataset, load_plan, make_plan, preprocess
from autoseg.pipeline.training import train_fold
from autoseg.provenance import Journal
from autoseg.report.build import write_report
from autoseg.training.runtime import find_device
from autoseg.workspace import Run


def plan_and_train(
    dataset: Path,
    out: Path,
    *,
    configurations: str = "auto",
    folds: str = "all",
    budget: float | None = None,
    steps: int | None = None,
    device: str = "auto",
    planner: str | None = None,
    trainer: str = "segmentation",
    loss: str | None = None,
    pretrained: Path | None = None,
    seed: int = 0,
    workers: int | None = None,
    resume: bool = False,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything from a data set's folder to a validated model and a report.

    Args:
        dataset: folder in one of the accepted layouts.
        out: run folder to make, or to go on with (`resume`).
        configurations: "auto" or names separated by commas.
        folds: "all" or numbers separated by commas.
        budget: wall-clock seconds for everything, report included.
        steps: optimiser steps of each training, instead of a time.
        device: "auto", "cpu", "cuda", "mps".
        planner, trainer, loss: plug-ins; planner None chooses by device and budget, loss None by the labels.
        pretrained: checkpoint whose fitting weights start every training.
        seed: of all random numbers.
        workers: processes; None chooses.
        resume: goes on with an unfinished run; finished stages are kept.
        command: the command line, for the report.

    Returns:
        The content of summary.json.

    Raises:
        WorkspaceError: the run folder is in use and `resume` is off.
        DatasetError: the data set has errors.
        ConfigurationError: an unknown name, or both a budget and a number of steps.
    """
    check_length(budget, steps)
    run, deadline = Run(out), Deadline.after(budget)
    device = find_device(device)
    for kind, name in (("planner", planner), ("trainer", trainer), ("loss", loss)):
        if name is not None:
            plugins.resolve(kind, name)  # a wrong name is told before the work begins, not after it
    _check_folder(run, dataset, resume)
    journal = Journal(run.provenance, tuple(command))
    if budget is None and steps is None and device == "cpu":
        text = f"no --budget and no --steps: on this CPU every fold trains for {duration(CPU_SECONDS)}"
        logger.info("note: %s", text)
        journal.note(text)
    if not (resume and run.fingerprint.exists()):
        with journal.stage("check and fingerprint"):
            fingerprint_dataset(dataset, out, workers=workers)
    fold_names = choose_folds(run, folds)
    if not (resume and run.plan.exists()):
        with journal.stage("plan"):
            share = training_share(deadline, steps, device, count_jobs(configurations, fold_names))
            make_plan(out, planner=planner, budget=share, device=device)
    plan = load_plan(run)
    names = choose_configurations(plan, configurations, budget=budget is not None)
    with journal.stage("preprocess"):
        preprocess(out, configurations=",".join(names), workers=workers)
    train = partial(
        train_fold, out, steps=steps, device=device, trainer=trainer, loss=loss, pretrained=pretrained, seed=seed,
        workers=workers, resume=resume,
    )  # fmt: skip
    _train_all(run, [(name, fold) for name in names for fold in fold_names], deadline, journal, train)
    with journal.stage("post-processing and summary"):
        summary = summarise_run(run, load_dataset(run), plan)
    with journal.stage("report"):
        write_report(run)
    return summary


def _check_folder(run: Run, dataset: Path, resume: bool) -> None:
    """Refuses a folder that holds another run, or with `resume` a run on other data."""
    if not run.dataset.exists():
        return
    if not resume:
        raise WorkspaceError(
            "the run folder is in use", where=run.root, remedy="add --resume to go on with it, or give another --out"
        )
    begun = load_dataset(run).folder
    if begun.resolve() != dataset.resolve():
        raise WorkspaceError(
            "the run was begun on other data",
            where=run.root,
            got=dataset,
            expected=begun,
            remedy="give that data set, or another --out",
        )


def _train_all(
    run: Run, jobs: list[tuple[str, str]], deadline: Deadline, journal: Journal, train: Callable[..., Any]
) -> None:
    """Trains what is not finished, one after the other; the time that is left is shared evenly."""
    if len(jobs) > 1:
        logger.info("%d trainings: %s", len(jobs), ", ".join(f"{name} fold {fold}" for name, fold in jobs))
    waiting = [job for job in jobs if not run.fold(*job).validation_summary.exists()]
    for name, fold in jobs:
        if (name, fold) not in waiting:
            logger.info("%s fold %s is finished already", name, fold)
    for i, (name, fold) in enumerate(waiting):
        left = deadline.left()
        with journal.stage(f"train {name} fold {fold}"):
            train(name, fold, budget=None if left is None else left / (len(waiting) - i))


def demo(out: Path, *, budget: float, command: Sequence[str] = ()) -> Run:
    """Writes a phantom data set and runs everything on it within the budget (seconds); goes on if interrupted."""
    started = time.monotonic()
    dataset, run = out / "dataset", Run(out / "run")
    if run.report.exists():
        raise WorkspaceError(
            "the demo was run here already", where=out, remedy="remove the folder or give another --out"
        )
    if not (dataset / "dataset.json").exists():
        logger.info("writing a phantom data set to %s", dataset)
        write_phantom(dataset, PhantomOptions())
    left = budget - (time.monotonic() - started)
    plan_and_train(dataset, run.root, folds="0", budget=left, resume=run.dataset.exists(), command=command)
    return run
