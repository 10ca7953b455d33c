"""Everything in one call: from a data set's folder to the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from autoseg.data.phantom import PhantomOptions, write_phantom
from autoseg.errors import WorkspaceError
from autoseg.evaluation.summary import Summary
from autoseg.log import counted, duration, logger
from autoseg.pipeline.choices import (
    CPU_SECONDS,
    Deadline,
    choose_configurations,
    choose_folds,
    count_jobs,
    default_seconds,
    wants_cascade,
)
from autoseg.pipeline.jobs import Job, announce, estimated, list_jobs, shares
from autoseg.pipeline.planned import PlannedRun
from autoseg.pipeline.pretrained import (
    adopt_plan,
    adopted_run,
    adopts,
    is_pretraining,
    keep_pretrained,
    refuse_leakage,
)
from autoseg.pipeline.request import TrainingRequest
from autoseg.pipeline.stages import (
    check_splits,
    fingerprint_dataset,
    load_dataset,
    load_plan,
    make_plan,
    preprocess,
    split_names,
)
from autoseg.pipeline.summary import summarise
from autoseg.pipeline.trainers import NamedTrainer, named_traits, trainer_of
from autoseg.pipeline.training import FoldJob, train_job
from autoseg.plan.layers import input_channels
from autoseg.plan.record import Plan
from autoseg.provenance import Journal
from autoseg.report.section import check_sections
from autoseg.run_state import RunState
from autoseg.training.distributed import joined_ranks, on_leader, ranks
from autoseg.training.measure import step_seconds
from autoseg.workspace import Run


def plan_and_train(
    dataset: Path | str, out: Path | str, request: TrainingRequest | None = None, **options: Any
) -> Summary:
    """Everything from a data set's folder to a validated model and a report.

    Args:
        dataset: folder in one of the accepted layouts.
        out: run folder to make, or to go on with (`resume`).
        request: what the user chose.
        options: of `TrainingRequest.of`, in place of a request: `configurations`, `folds`, `budget`, `steps`, `device`,
            `planner`, `memory`, `trainer`, `loss`, `pretrained`, `seed`, `workers`, `resume`, `settings`, `reading`,
            `command`.

    Returns:
        What was validated and chosen, as summary.json has it; empty when nothing is validated ("all-data").

    Raises:
        WorkspaceError: the run folder is in use and `resume` is off.
        DatasetError: the data set has errors.
        ConfigurationError: an unknown name, or both a budget and a number of steps, or both a planner and a run whose
            plan is taken.
        PlanError: the plan of the pretrained run does not fit the data.
    """
    request = request or TrainingRequest.of(**options)
    dataset, run = Path(dataset), Run(Path(out))
    adopted = adopted_run(request.pretrained, planner=request.planner, memory=request.memory)
    check_sections()
    with joined_ranks(request.device):
        on_leader(lambda: _check_folder(run, dataset, request.resume))
        journal = Journal(run.provenance, request.command, writes=ranks().leads)
        deadline = Deadline.after(request.budget, spent=journal.spent if request.resume else 0.0)
        if request.budget is None and request.length is None and request.device == "cpu":
            _note(journal, f"no --budget and no --steps: on this CPU every fold trains for {duration(CPU_SECONDS)}")
        shared = None if request.length else deadline
        on_leader(lambda: _prepare(run, dataset, request, adopted, shared, journal))
        planned = PlannedRun.load(run)
        trainer = trainer_of(planned.plan, request.trainer)
        names = choose_configurations(planned.plan, request.configurations, budget=request.budget is not None)
        folds = choose_folds(planned.folds, request.folds)
        state = on_leader(lambda: RunState.read(run))
        jobs = list_jobs(state, planned.plan, names, folds, planned.folds, validates=trainer.validates)
        validated = {case for job in jobs for case in planned.split(job.fold).validation}
        on_leader(lambda: refuse_leakage(request.pretrained, planned, validated, request.workers))
        todo = partial(FoldJob, trainer=trainer, keep_probabilities=len(names) > 1)
        _train_all(planned, jobs, todo, request, deadline, journal)
        return on_leader(lambda: _conclude(planned, journal, request.workers))


def _prepare(
    run: Run,
    dataset: Path,
    request: TrainingRequest,
    adopted: Path | None,
    deadline: Deadline | None,
    journal: Journal,
) -> None:
    """Fingerprint, plan and preprocessed images; what there is already stays when resuming.

    Args:
        run: folder.
        dataset: folder.
        request: what the user chose.
        adopted: the run whose plan is taken if it fits; None for a plan of its own.
        deadline: whose time the trainings will share; None if something else sets their length.
        journal: of the run.
    """
    done = RunState.read(run) if request.resume else None
    if done is not None and done.fingerprinted:
        check_splits(run, request.splits)
    else:
        with journal.stage("check and fingerprint"):
            labelled = named_traits(request.trainer).needs_labels
            fingerprint_dataset(
                dataset,
                run.root,
                workers=request.workers,
                rule=request.splits,
                labelled=labelled,
                reading=request.reading,
            )
    choose_folds(split_names(run), request.folds)  # a wrong number is told before the images are preprocessed
    if done is None or not done.planned:
        with journal.stage("plan"):
            _plan(run, request, adopted, deadline)
    budget = deadline is not None and deadline.end is not None
    names = choose_configurations(load_plan(run), request.configurations, budget=budget)
    with journal.stage("preprocess"):
        preprocess(run.root, configurations=",".join(names), workers=request.workers)


def _plan(run: Run, request: TrainingRequest, adopted: Path | None, deadline: Deadline | None) -> None:
    """The plan of the run that is started from, or one that the planner makes for each training's share of the time."""
    if adopted is not None and adopts(run.root, adopted):
        adopt_plan(run.root, adopted)
        return
    share = None
    if deadline is not None:
        names = split_names(run)
        count = count_jobs(request.configurations, choose_folds(names, request.folds), names)
        left = deadline.left()
        share = default_seconds(request.device) if left is None else left / count
    make_plan(
        run.root,
        planner=request.planner or named_traits(request.trainer).planner,
        budget=share,
        device=request.device,
        memory=request.memory,
        cascade=wants_cascade(request.configurations),
    )
    if request.pretrained is not None and is_pretraining(request.pretrained):
        keep_pretrained(run.root, request.pretrained)


def _conclude(planned: PlannedRun, journal: Journal, workers: int | None) -> Summary:
    """The choice among what is validated, and the report."""
    summary = Summary()
    state = RunState.read(planned.run)
    if any(state.validated(name) for name in planned.plan.configurations):
        with journal.stage("ensembles, post-processing and summary"):
            summary = summarise(planned, workers=workers)
    with journal.stage("report"):
        from autoseg.report.build import write_report

        write_report(planned.run)
    return summary


def _check_folder(run: Run, dataset: Path, resume: bool) -> None:
    """Refuses a folder that holds another run, or with `resume` a run on other data."""
    if not RunState.read(run).has_data:
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
    planned: PlannedRun,
    jobs: Sequence[Job],
    todo: Callable[..., FoldJob],
    request: TrainingRequest,
    deadline: Deadline,
    journal: Journal,
) -> None:
    """Trains what is not finished, one after the other; the time that is left is shared by what each still needs.

    Args:
        planned: run.
        jobs: all trainings, with where they stand.
        todo: makes a `FoldJob` of (configuration, fold, budget=seconds).
        request: what the user chose.
        deadline: for everything.
        journal: of the run.
    """
    waiting = [job for job in jobs if job.state != "finished"]
    if not waiting:
        logger.info("finished already: %s", counted(len(jobs), "training"))
        return
    if request.resume and request.budget is not None:
        deadline = _extended(deadline, request.budget / len(jobs), waiting, journal)
    whole = _whole_training(planned.plan, todo("", "").trainer, request)
    announce(on_leader(lambda: estimated(jobs, deadline.left(), whole)))
    for i, job in enumerate(waiting):
        left = deadline.left()
        with journal.stage(f"train {job.name}"):
            share = None if left is None else ranks().agree(shares(waiting[i:], left)[0])
            train_job(planned, todo(job.configuration, job.fold, budget=share), request)


def _extended(deadline: Deadline, even_share: float, waiting: Sequence[Job], journal: Journal) -> Deadline:
    """A deadline for the rest of an interrupted run: no training is starved because the time before was lost."""
    needed = sum(even_share * (1 - job.progress) for job in waiting) / 2
    left = deadline.left()
    if left is None or left >= needed:
        return deadline
    _note(
        journal, f"the budget is used up; {counted(len(waiting), 'training')} left: half the share of it again for each"
    )
    return Deadline.after(needed)


def _whole_training(plan: Plan, trainer: NamedTrainer, request: TrainingRequest) -> Callable[[Job], float | None]:
    """Seconds of a whole training without its validation: as given, or for a number of steps timed once."""
    steps, seconds = request.config.steps, request.config.seconds or default_seconds(request.device)

    @cache
    def pace(name: str) -> float:
        configuration = plan.configurations[name]
        channels = input_channels(configuration, len(plan.channels), plan.labels)
        step = trainer.traits.training_step(configuration, channels, plan.labels.outputs)
        return step_seconds(step, request.device)

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
    plan_and_train(dataset, run.root, folds="0", budget=left, resume=RunState.read(run).has_data, command=command)
    return run
