"""The trainings of a run: which are done, which are left, and how long they will take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from autoseg.log import counted, duration, logger
from autoseg.plan.record import Plan
from autoseg.run_state import FoldState, RunState, Standing
from autoseg.workspace import ALL_DATA


@dataclass(frozen=True)
class Job:
    """One training: a fold of a configuration.

    Attributes:
        state: "finished" with its validation, "trained" but not validated, "started", or "waiting".
        progress: share of the training that is done.
        seconds: estimated seconds to the end; None if it cannot be estimated.
    """

    configuration: str
    fold: str
    state: Standing = "waiting"
    progress: float = 0.0
    seconds: float | None = None

    @property
    def name(self) -> str:
        """As it stands in messages."""
        return f"{self.configuration} fold {self.fold}"


def list_jobs(
    state: RunState,
    plan: Plan,
    configurations: Sequence[str],
    folds: Sequence[str],
    every: Sequence[str],
    *,
    validates: bool = True,
) -> tuple[Job, ...]:
    """The trainings of some folds of some configurations, in order, with where they stand.

    Args:
        state: of the run, from which alone follows what is done.
        plan: of the run.
        configurations: names, a cascade's first stage before the second.
        folds: wanted folds.
        every: all folds of the run's splits. A cascade's second stage learns from predictions of all training cases
            by networks that did not see them, so that its first stage is trained on every fold.
        validates: whether the trainer scores validation cases.
    """
    feeding = {plan.configurations[name].previous_stage for name in configurations}
    return tuple(
        _job(state.fold(name, fold), name, fold, validates=validates and fold != ALL_DATA, feeds=name in feeding)
        for name in configurations
        for fold in (dict.fromkeys([*every, *folds]) if name in feeding else folds)
    )


def _job(fold_state: FoldState, name: str, fold: str, *, validates: bool, feeds: bool) -> Job:
    """The training of a fold with where it stands; one that `feeds` a second stage also needs the labels for it."""
    standing = fold_state.standing(validates=validates, feeds=feeds)
    if standing == "finished":
        return Job(name, fold, standing, progress=1.0, seconds=0.0)
    return Job(
        name,
        fold,
        standing,
        progress=fold_state.progress,
        seconds=None if standing == "trained" else fold_state.remaining,
    )


def shares(jobs: Sequence[Job], seconds: float) -> tuple[float, ...]:
    """A budget divided among trainings by what each has still to do; finished ones get nothing."""
    needs = [0.0 if job.state == "finished" else max(1.0 - job.progress, 0.05) for job in jobs]
    total = sum(needs) or 1.0
    return tuple(seconds * need / total for need in needs)


def estimated(jobs: Sequence[Job], budget: float | None, whole: Callable[[Job], float | None]) -> tuple[Job, ...]:
    """The jobs with their estimated seconds.

    Args:
        budget: seconds for all that is left; None if there is no budget.
        whole: seconds of a whole training and its validation, where there is no budget.
    """
    if budget is not None:
        return tuple(replace(job, seconds=share) for job, share in zip(jobs, shares(jobs, budget), strict=True))
    timed = []
    for job in jobs:
        seconds = None if job.state == "finished" else whole(job)
        if job.state == "finished":
            timed.append(replace(job, seconds=0.0))
        elif seconds is None:
            timed.append(job)
        else:
            timed.append(replace(job, seconds=seconds * max(1.0 - job.progress, 0.05)))
    return tuple(timed)


def announce(jobs: Sequence[Job]) -> None:
    """Logs a table of the trainings, what is left of each and its estimated time."""
    if len(jobs) == 1 and jobs[0].state == "waiting":
        return
    for line in table_lines(jobs):
        logger.info("%s", line)


def table_lines(jobs: Sequence[Job]) -> Iterator[str]:
    """Lines of the table: training, where it stands, estimated time; and the sum."""
    wide = max(len("training"), *(len(job.name) for job in jobs))
    yield f"{'training':<{wide}}  {'state':<12}  estimated time"
    for job in jobs:
        state = f"{job.progress:.0%} done" if job.state == "started" else job.state
        time = "-" if job.state == "finished" else "unknown" if job.seconds is None else duration(job.seconds)
        yield f"{job.name:<{wide}}  {state:<12}  {time}"
    left = [job for job in jobs if job.state != "finished"]
    estimates = [job.seconds for job in left if job.seconds is not None]
    if left and len(estimates) == len(left):
        yield f"{len(left)} of {counted(len(jobs), 'training')} left, about {duration(sum(estimates))}"
    else:
        yield f"{len(left)} of {counted(len(jobs), 'training')} left"
