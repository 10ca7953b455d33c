"""A method on a fold, in a process of its own: what it breaks or takes, no other method and no table suffers from.

The process is started anew (not forked), so that its memory and its threads are the method's own. It sends what it has
done, case by case; where it dies, the case that it was at has failed, and a new one goes on with the others.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from autoseg import log, plugins
from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import read_case, write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.errors import AutosegError
from autoseg.log import Progress, counted, duration, logger
from autoseg.studies.comparison.baselines.protocol import (
    Baseline,
    BaselineContext,
    Fitted,
    Segmentation,
    check_segmentation,
)
from autoseg.studies.comparison.pipeline.memory import peak_gb, reset_peak
from autoseg.studies.comparison.pipeline.methods import OWN, ComparedMethod
from autoseg.studies.comparison.statistics.method_run import CaseRun, MethodFold

Result = TypeVar("Result")

_DEATHS = 3
"""A process that dies so often on one fold is not started again."""

_PATIENCE = 20.0
"""Seconds that a process has to end by itself after Ctrl-C, which it gets too."""


@dataclass(frozen=True)
class MethodJob:
    """A method on a fold, with everything that its process needs.

    Attributes:
        training: the cases that it learns from.
        of_training: how many the fold has.
        validation: the cases that it predicts.
        folder: of the method; predictions go into it, and what the method keeps into `work/fold_<fold>`.
        options: for the plug-in: those of the method, and "fold" and "splits".
        plugin_files: Python files that register plug-ins.
    """

    method: ComparedMethod
    fold: str
    dataset: Dataset
    training: tuple[Case, ...]
    of_training: int
    validation: tuple[Case, ...]
    seed: int
    workers: int
    folder: Path
    options: Mapping[str, Any]
    plugin_files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class _Fit:
    """Message: the method has learned, or why it could not."""

    description: str
    note: str = ""
    seconds: float | None = None
    peak_gb: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class _BegunProcess:
    """Message: the method is at this case."""

    case: str


@dataclass(frozen=True)
class _Done:
    """Message: how a case went."""

    case: str
    run: CaseRun


@dataclass
class _State:
    """What the processes of a job have told so far."""

    fit: _Fit | None = None
    cases: dict[str, CaseRun] = field(default_factory=dict)
    at: str | None = None


def run_fold(job: MethodJob) -> MethodFold:
    """Fits a method and predicts the fold's validation cases, whatever becomes of it.

    Writes `<case><ending>` per predicted case into the job's folder, and the map of disagreement, where the method has
    one, into `disagreement/`. What fails is in the result; nothing is raised for it.
    """
    state, deaths = _State(), 0
    title = f"{job.method.name}, fold {job.fold}"
    logger.info("%s: learns from %d of %s", title, len(job.training), counted(job.of_training, "training case"))
    while deaths < _DEATHS and (left := [case for case in job.validation if case.id not in state.cases]):
        state.at = None
        code = _run_process(job, left, state, title)
        if state.fit is None:
            state.fit = _Fit(description="", failure=_death(code))
        if state.fit.failure is not None:
            break
        if len(state.cases) < len(job.validation):
            deaths += 1
            if state.at is not None:
                logger.error("%s: %s: %s", title, state.at, _death(code))
                state.cases[state.at] = CaseRun(failure=_death(code))
    return _result(job, state)


def _result(job: MethodJob, state: _State) -> MethodFold:
    fit = state.fit or _Fit(description="", failure="there was no case to predict")
    reason = fit.failure or f"not tried after the process had died {_DEATHS} times"
    if fit.failure is not None:
        logger.error("%s, fold %s: cannot be fit: %s", job.method.name, job.fold, fit.failure)
    return MethodFold(
        method=job.method.name,
        plugin=job.method.plugin,
        description=fit.description,
        note=fit.note,
        fold=job.fold,
        seed=job.seed,
        options=written_options(job.method.options),
        training=tuple(case.id for case in job.training),
        of_training=job.of_training,
        fit_seconds=fit.seconds,
        fit_peak_gb=fit.peak_gb,
        failure=fit.failure,
        cases={case.id: state.cases.get(case.id, CaseRun(failure=reason)) for case in job.validation},
    )


def written_options(options: Mapping[str, Any]) -> dict[str, str]:
    """Options as a record keeps them."""
    return {name: str(value) for name, value in sorted(options.items())}


def _run_process(job: MethodJob, cases: Sequence[Case], state: _State, title: str) -> int | None:
    """Runs one process to its end and notes what it tells; returns its exit code."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    run_log = next((h.baseFilename for h in logger.handlers if isinstance(h, logging.FileHandler)), None)
    process = context.Process(target=_work, args=(job, tuple(cases), sender, bool(logger.handlers), run_log))
    process.start()
    sender.close()
    try:
        with ExitStack() as stack:
            bar: Progress | None = None
            while (message := _next(receiver)) is not None:
                if isinstance(message, _Fit):
                    state.fit = message
                    if message.failure is None:
                        logger.info("%s: has learned in %s", title, duration(message.seconds or 0.0))
                        bar = stack.enter_context(Progress(title, len(cases)))
                elif isinstance(message, _BegunProcess):
                    state.at = message.case
                elif isinstance(message, _Done):
                    state.at, state.cases[message.case] = None, message.run
                    if message.run.failure is not None:
                        logger.error("%s: %s: %s", title, message.case, message.run.failure)
                    if bar is not None:
                        bar.advance()
        process.join()
    finally:
        receiver.close()
        if process.is_alive():
            process.join(_PATIENCE)
            process.terminate()
            process.join()
    return process.exitcode


def _next(receiver: Connection) -> _Fit | _BegunProcess | _Done | None:
    """The next message; None after the last one."""
    try:
        message = receiver.recv()
    except (EOFError, OSError):
        return None
    assert isinstance(message, (_Fit, _BegunProcess, _Done))
    return message


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the process was killed (signal {-code}); it probably ran out of memory"
    return f"the process ended without an answer (exit code {code})"


def _work(job: MethodJob, cases: tuple[Case, ...], sender: Connection, console: bool, run_log: str | None) -> None:
    """What the process does; Ctrl-C, which the parent gets too, ends it without a word."""
    if console:
        log.configure(run_log=run_log)
    with suppress(KeyboardInterrupt):
        _fit_and_predict(job, cases, sender)


def _fit_and_predict(job: MethodJob, cases: tuple[Case, ...], sender: Connection) -> None:
    description = ""
    try:
        for file in job.plugin_files:
            plugins.load_file(file)
        fit = _baseline(job.method)
        description = first_line(fit)
        folder = job.folder / "work" / f"fold_{job.fold}"
        folder.mkdir(parents=True, exist_ok=True)
        context = BaselineContext(
            dataset=job.dataset,
            labels=job.dataset.labels,
            training=job.training,
            seed=job.seed,
            folder=folder,
            workers=job.workers,
            options=job.options,
        )
        fitted, seconds = _timed(lambda: fit(context))
    except Exception as error:  # whatever a plug-in raises is its failure, not the comparison's
        sender.send(_Fit(description, failure=_reason(error)))
        return
    sender.send(_Fit(description, str(getattr(fitted, "note", "")), seconds, peak_gb()))
    for case in cases:
        sender.send(_BegunProcess(case.id))
        sender.send(_Done(case.id, _predict(job, fitted, case)))


def _baseline(method: ComparedMethod) -> Baseline:
    if method.plugin == OWN:
        from autoseg.studies.comparison.pipeline import own  # imports PyTorch

        return own.fit
    baseline: Baseline = plugins.resolve("baseline", method.plugin)
    return baseline


def _predict(job: MethodJob, fitted: Fitted, case: Case) -> CaseRun:
    """Predicts a case and writes it; a failure is noted, with the size of the image if that could be read."""
    grid: dict[str, Any] = {}
    try:
        image = read_case(case, len(job.dataset.channels))
        shape, geometry = image.shape, image.geometry
        del image
        grid = {"shape": shape[3 - geometry.dimension :], "spacing": geometry.spacing[3 - geometry.dimension :]}
        segmentation, seconds = _timed(lambda: fitted.predict(case))
        peak = peak_gb()
        where = f"{job.method.name}: {case.id}"
        check_segmentation(segmentation, shape, job.dataset.labels, where=where)
        _write(job, case, segmentation, geometry)
    except Exception as error:  # as above
        return CaseRun(failure=_reason(error), **grid)
    return CaseRun(seconds=seconds, peak_gb=peak, **grid)


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """A result and its wall-clock seconds; the peak of memory counts from the start."""
    reset_peak()
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _write(job: MethodJob, case: Case, segmentation: Segmentation, geometry: Geometry) -> None:
    labels = job.dataset.labels.decode(segmentation.labels)
    if segmentation.disagreement is not None:
        ending = ".tif" if geometry.dimension == 2 else ".nii.gz"
        image = Image(segmentation.disagreement.astype(np.float32, copy=False)[None], geometry)
        write_image(job.folder / "disagreement" / f"{case.id}{ending}", image)
    write_labels(job.folder / f"{case.id}{job.dataset.label_ending}", labels, geometry)


def first_line(plugin: object) -> str:
    """The first line of a plug-in's docstring, without its full stop; empty if it has none."""
    return (getattr(plugin, "__doc__", None) or "").strip().partition("\n")[0].rstrip(". ")


def _reason(error: Exception) -> str:
    """An error in one line; one that no user is meant to see has its traceback in the log."""
    if isinstance(error, AutosegError):
        return " ".join(part.strip() for part in str(error).splitlines())
    logger.debug("a method failed", exc_info=error)
    return f"{type(error).__name__}: {error}".partition("\n")[0]
