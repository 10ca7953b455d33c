"""Everything in one call: from a data set's folder to the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from autoseg import plugins
from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.errors import WorkspaceError
from autoseg.log import duration, logger
from autoseg.pipeline.choices import (
    CPU_SECONDS,
    Deadline,
    all_folds,
    check_length,
    choose_configurations,
    choose_folds,
    count_jobs,
    default_seconds,
    split_of,
    training_config,
    wants_cascade,
)
from autoseg.pipeline.jobs import Job, announce, estimated, list_jobs, shares
from autoseg.pipeline.pretrained import (
    adopt_plan,
    adopted_run,
    adopts,
    is_pretraining,
    keep_pretrained,
    refuse_leakage,
)
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.stages import check_splits, fingerprint_dataset, load_dataset, load_plan, make_plan, preprocess
from autoseg.pipeline.summary import summarise
from autoseg.pipeline.trainers import check_options, named_traits, trainer_of
from autoseg.pipeline.training import train_fold
from autoseg.plan.layers import input_channels
from autoseg.plan.record import Plan
from autoseg.provenance import Journal
from autoseg.training.context import traits_of
from autoseg.training.distributed import joined_ranks, on_leader, ranks
from autoseg.training.measure import step_seconds
from autoseg.training.runtime import find_device
from autoseg.workspace import ALL_DATA, Run


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
    memory: float | Literal["auto"] | None = None,
    trainer: str | None = None,
    loss: str | None = None,
    pretrained: Path | None = None,
    seed: int | None = None,
    workers: int | None = None,
    resume: bool = False,
    settings: Settings | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything from a data set's folder to a validated model and a report.

    Args:
        dataset: folder in one of the accepted layouts.
        out: run folder to make, or to go on with (`resume`).
        configurations: "auto" or names separated by commas.
        folds: "all", "all-data" (one model on every case, without validation) or numbers separated by commas.
        budget: wall-clock seconds for everything, report included. A command that was interrupted and is resumed
            goes on with what is left of it.
        steps: optimiser steps of each training, instead of a time.
        device: "auto", "cpu", "cuda", "mps".
        planner, trainer, loss: plug-ins; planner None takes the trainer's, else chooses by device and budget; trainer
            None takes that of the plan's task, loss None chooses by the labels.
        memory: accelerator memory to plan for in GB, or "auto" for that of the device; None as the planner has it.
        pretrained: checkpoint whose fitting weights start every training; or a run folder, whose plan is taken and
            whose weights start the same folds (`autoseg.pipeline.pretrained`).
        seed: of all random numbers.
        workers: processes; None chooses.
        resume: goes on with an unfinished run; finished stages and folds are kept.
        settings: choices about splits and training beyond these (`autoseg.pipeline.settings`).
        command: the command line, for the report.

    Returns:
        The content of summary.json; empty when nothing is validated ("all-data").

    Raises:
        WorkspaceError: the run folder is in use and `resume` is off.
        DatasetError: the data set has errors.
        ConfigurationError: an unknown name, or both a budget and a number of steps, or both a planner and a run whose
            plan is taken.
        PlanError: the plan of the pretrained run does not fit the data.
    """
    config = training_config(settings, steps=steps, seed=seed, loss=loss)
    check_length(budget, config)
    adopted = adopted_run(pretrained, planner=planner, memory=memory)
    device = find_device(device)
    for kind, name in (("planner", planner), ("trainer", trainer), ("loss", loss)):
        if name is not None:
            plugins.resolve(kind, name)  # a wrong name is told before the work begins, not after it
    if trainer is not None:
        check_options(trainer, config)
    with joined_ranks(device):
        run = Run(out)
        on_leader(lambda: _check_folder(run, dataset, resume))
        journal = Journal(run.provenance, tuple(command), writes=ranks().leads)
        deadline = Deadline.after(budget, spent=journal.spent if resume else 0.0)
        length = config.steps or config.seconds
        if budget is None and length is None and device == "cpu":
            _note(journal, f"no --budget and no --steps: on this CPU every fold trains for {duration(CPU_SECONDS)}")
        traits = named_traits(trainer)
        wanted = _Wanted(
            configurations, folds, planner or traits.planner, memory, device, workers, settings, pretrained, adopted,
            traits.needs_labels,
        )  # fmt: skip
        share = None if length else deadline
        on_leader(lambda: _prepare(run, dataset, wanted, share, journal, resume))
        plan = load_plan(run)
        trainer = trainer_of(plan, trainer)
        names = choose_configurations(plan, configurations, budget=budget is not None)
        jobs = list_jobs(run, plan, names, choose_folds(run, folds), all_folds(run))
        validated = {case for job in jobs for case in split_of(run, load_dataset(run), job.fold).validation}
        on_leader(lambda: refuse_leakage(pretrained, out, validated, workers))
        train = partial(
            train_fold, out, steps=steps, device=device, trainer=trainer, loss=loss, pretrained=pretrained, seed=seed,
            workers=workers, resume=resume, settings=settings, keep_probabilities=len(names) > 1,
        )  # fmt: skip
        whole = _whole_training(plan, trainer, device, config.steps, config.seconds or default_seconds(device))
        _train_all(jobs, deadline, budget if resume else None, journal, train, whole)
        return on_leader(lambda: _conclude(run, jobs, journal, workers))


@dataclass(frozen=True)
class _Wanted:
    """What the user asks of the stages before training; `adopted` is the run whose plan is taken if it fits, `labelled`
    whether each image must have a label."""

    configurations: str
    folds: str
    planner: str | None
    memory: float | Literal["auto"] | None
    device: str
    workers: int | None
    settings: Settings | None
    pretrained: Path | None
    adopted: Path | None
    labelled: bool


def _prepare(
    run: Run, dataset: Path, wanted: _Wanted, deadline: Deadline | None, journal: Journal, resume: bool
) -> None:
    """Fingerprint, plan and preprocessed images; what is there already stays when resuming.

    Args:
        deadline: whose time the trainings will share; None if something else sets their length.
    """
    rule = wanted.settings.splits if wanted.settings else None
    if resume and run.fingerprint.exists():
        check_splits(run, rule)
    else:
        with journal.stage("check and fingerprint"):
            fingerprint_dataset(dataset, run.root, workers=wanted.workers, rule=rule, labelled=wanted.labelled)
    if not (resume and run.plan.exists()):
        with journal.stage("plan"):
            _plan(run, wanted, deadline)
    budget = deadline is not None and deadline.end is not None
    names = choose_configurations(load_plan(run), wanted.configurations, budget=budget)
    with journal.stage("preprocess"):
        preprocess(run.root, configurations=",".join(names), workers=wanted.workers)


def _plan(run: Run, wanted: _Wanted, deadline: Deadline | None) -> None:
    """The plan of the run that is started from, or one that the planner makes for each training's share of the time."""
    if wanted.adopted is not None and adopts(run.root, wanted.adopted):
        adopt_plan(run.root, wanted.adopted)
        return
    share = None
    if deadline is not None:
        count = count_jobs(wanted.configurations, choose_folds(run, wanted.folds), all_folds(run))
        left = deadline.left()
        share = default_seconds(wanted.device) if left is None else left / count
    make_plan(
        run.root,
        planner=wanted.planner,
        budget=share,
        device=wanted.device,
        memory=wanted.memory,
        cascade=wants_cascade(wanted.configurations),
    )
    if wanted.pretrained is not None and is_pretraining(wanted.pretrained):
        keep_pretrained(run.root, wanted.pretrained)


def _conclude(run: Run, jobs: Sequence[Job], journal: Journal, workers: int | None) -> dict[str, Any]:
    """The choice among what is validated, and the report."""
    summary: dict[str, Any] = {}
    if any(job.fold != ALL_DATA for job in jobs):
        with journal.stage("ensembles, post-processing and summary"):
            summary = summarise(run, workers=workers)
    with journal.stage("report"):
        from autoseg.report.build import write_report

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
    jobs: Sequence[Job],
    deadline: Deadline,
    resumed_budget: float | None,
    journal: Journal,
    train: Callable[..., Any],
    whole: Callable[[Job], float | None],
) -> None:
    """Trains what is not finished, one after the other; the time that is left is shared by what each still needs."""
    waiting = [job for job in jobs if job.state != "finished"]
    if not waiting:
        logger.info("all %d trainings are finished already", len(jobs))
        return
    if resumed_budget is not None:
        deadline = _extended(deadline, resumed_budget / len(jobs), waiting, journal)
    announce(on_leader(lambda: estimated(jobs, deadline.left(), whole)))
    for i, job in enumerate(waiting):
        left = deadline.left()
        with journal.stage(f"train {job.name}"):
            share = None if left is None else ranks().agree(shares(waiting[i:], left)[0])
            train(job.configuration, job.fold, budget=share)


def _extended(deadline: Deadline, even_share: float, waiting: Sequence[Job], journal: Journal) -> Deadline:
    """A deadline for the rest of an interrupted run: no training is starved because the time before was lost."""
    needed = sum(even_share * (1 - job.progress) for job in waiting) / 2
    left = deadline.left()
    if left is None or left >= needed:
        return deadline
    _note(journal, f"the budget is used up; the {len(waiting)} trainings left get half their share of it again")
    return Deadline.after(needed)


def _whole_training(
    plan: Plan, trainer: str, device: str, steps: int | None, seconds: float | None
) -> Callable[[Job], float | None]:
    """Seconds of a whole training without its validation: as given, or for a number of steps timed once."""

    @cache
    def pace(name: str) -> float:
        configuration = plan.configurations[name]
        channels = input_channels(configuration, len(plan.channels), plan.labels)
        step = traits_of(plugins.resolve("trainer", trainer)).training_step
        return step_seconds(step(configuration, channels, plan.labels.outputs), device)

    return lambda job: seconds if steps is None else steps * pace(job.configuration)


def _note(journal: Journal, text: str) -> None:
    logger.info("note: %s", text)
    journal.note(text)


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
