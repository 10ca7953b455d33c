"""One fold of one configuration: trained, validated, scored."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from autoseg.errors import AutosegError, ConfigurationError, WorkspaceError
from autoseg.evaluation.scores import Scores
from autoseg.evaluation.validation import score_validation
from autoseg.log import counted, duration, logger
from autoseg.networks.transfer import transfer_weights
from autoseg.pipeline.choices import GPU_STEPS, default_seconds
from autoseg.pipeline.planned import PlannedRun
from autoseg.pipeline.pretrained import refuse_leakage, starting_tensors, starting_weights
from autoseg.pipeline.request import TrainingRequest, check_length
from autoseg.pipeline.trainers import NamedTrainer, check_options, trainer_of
from autoseg.plan.sharing import store_of
from autoseg.records import unknown_name
from autoseg.run_state import fold_state
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.config import TrainingConfig
from autoseg.training.context import FoldContext, Trainer, Validated, Validates
from autoseg.training.distributed import joined_ranks, on_leader, ranks
from autoseg.training.hooks import default_hooks
from autoseg.training.loop import Outcome, Start, Training
from autoseg.training.measure import measure_step
from autoseg.training.runtime import Runtime, base_runtime, steady_runtime
from autoseg.workspace import ALL_DATA, Fold, Run

_LEAST_TRAINING = 10.0
_FEW_STEPS = 300
_SCORING_SECONDS = 0.15  # writing and scoring a small validation case


def train_fold(
    out: Path, configuration: str, fold: int | str, request: TrainingRequest | None = None, **options: Any
) -> Scores | None:
    """Trains and validates one fold of a planned and preprocessed run.

    With a budget, training ends early enough for the validation to fit in too. Without steps and budget the training
    is as long as nnU-Net's on an accelerator and an hour on a CPU. Several processes started by torchrun train one
    model together.

    Args:
        out: run folder.
        configuration: name in the plan.
        fold: number of the fold, or "all" to train on every case.
        request: what the user chose.
        options: of `TrainingRequest.of`, in place of a request.

    Returns:
        The scores of its validation cases; None where nothing is validated.
    """
    request = request or TrainingRequest.of(**options)
    planned = PlannedRun.load(Run(out))
    trainer = trainer_of(planned.plan, request.trainer)
    return train_job(planned, FoldJob(configuration, str(fold), trainer, request.budget), request)


@dataclass(frozen=True)
class FoldJob:
    """One fold to train.

    Attributes:
        budget: wall-clock seconds for training and validation; None if something else sets the length.
        keep_probabilities: the validation keeps what ensembles are made from.
    """

    configuration: str
    fold: str
    trainer: NamedTrainer
    budget: float | None = None
    keep_probabilities: bool = True


def train_job(planned: PlannedRun, job: FoldJob, request: TrainingRequest) -> Scores | None:
    """Trains and validates one fold (see `train_fold`)."""
    started = time.monotonic()
    _check(planned, job, request)
    folder = planned.run.fold(job.configuration, job.fold)
    begun = _begun(folder) if request.resume else None
    context = FoldContext(
        run=planned.run,
        dataset=planned.dataset,
        plan=planned.plan,
        configuration_name=job.configuration,
        fold=job.fold,
        split=planned.split(job.fold),
        config=_method(request.config, begun, job.budget, request.device),
        runtime=begun.runtime if begun else steady_runtime(base_runtime(request.device, request.workers)),
        trainer=job.trainer.name,
        keep_probabilities=job.keep_probabilities,
    )
    with joined_ranks(request.device):
        validation = context.split.validation
        on_leader(partial(refuse_leakage, request.pretrained, planned, validation, request.workers))
        context = on_leader(lambda: _with_length(context, job, started, begun))
        trainer = job.trainer.make(context)
        outcome = _train(trainer, context, request)
        if outcome is not None and not outcome.finished:
            logger.info(
                "%s fold %s was stopped after %d steps as asked; --resume goes on", job.configuration, job.fold,
                outcome.steps,
            )  # fmt: skip
            return None
        return None if job.fold == ALL_DATA else on_leader(lambda: validated_scores(trainer, context, request.workers))


def _check(planned: PlannedRun, job: FoldJob, request: TrainingRequest) -> None:
    """Refuses before any work what cannot be trained."""
    check_length(job.budget, request.config)
    check_options(job.trainer.name, request.config)
    run, plan = planned.run, planned.plan
    if job.configuration not in plan.configurations:
        raise unknown_name("configuration", job.configuration, plan.configurations, where=run.plan)
    if job.fold != ALL_DATA and not job.trainer.validates:
        raise ConfigurationError(
            f"the trainer {job.trainer.name!r} judges nothing on validation cases",
            got=f"fold {job.fold}",
            expected="a training on every case",
            remedy=job.trainer.traits.begun_by or "give --fold all-data",
        )
    run.require(
        run.preprocessed(store_of(plan, job.configuration)),
        f"autoseg preprocess {run.root} --configurations {job.configuration}",
    )


@dataclass(frozen=True)
class _BegunTraining:
    """What an unfinished training began with, so that it ends as it began, and the seconds it has had."""

    runtime: Runtime
    config: TrainingConfig
    seconds: float


def _begun(folder: Fold) -> _BegunTraining | None:
    if not fold_state(folder).resumable:
        return None
    state = load_checkpoint(folder.last)
    try:
        runtime, config = Runtime.from_mapping(state["runtime"]), TrainingConfig.from_mapping(state["config"])
    except AutosegError as error:
        raise WorkspaceError(
            "the training was begun by another version and cannot go on",
            where=folder.last,
            remedy=f"remove {folder.root} to train the fold anew",
        ) from error
    return _BegunTraining(runtime, config, state["seconds"])


def _method(chosen: TrainingConfig, begun: _BegunTraining | None, budget: float | None, device: str) -> TrainingConfig:
    """How to train: as asked, or as it began; with the length, as far as it is known without measuring."""
    if begun is not None:
        changed = [
            name
            for name, value in chosen
            if name not in ("steps", "seconds", "stop_after")
            and value not in (TrainingConfig.model_fields[name].get_default(), getattr(begun.config, name))
        ]
        if changed:
            logger.warning("the training goes on as it began; not used: training.%s", ", training.".join(changed))
        if begun.config.steps and chosen.steps and chosen.steps != begun.config.steps:
            logger.warning("the training was begun for %d steps and now ends at %d", begun.config.steps, chosen.steps)
    seconds = None if chosen.steps else budget or chosen.seconds or default_seconds(device)
    steps = chosen.steps if chosen.steps or seconds else GPU_STEPS
    method = begun.config if begun else chosen
    return method.with_(steps=steps, seconds=seconds, stop_after=chosen.stop_after)


def _with_length(context: FoldContext, job: FoldJob, started: float, begun: _BegunTraining | None) -> FoldContext:
    """The context with the fastest runtime, the seconds that the budget leaves, and a method that suits both."""
    expected_steps = float(context.config.steps or 0)
    if context.config.steps is None:
        context, step_seconds = _fit_to_time(context, job, started, begun)
        assert context.config.seconds is not None
        expected_steps = context.config.seconds / step_seconds
    method = job.trainer.traits.method(context.configuration, context.config, expected_steps)
    return replace(context, config=method)


def _fit_to_time(
    context: FoldContext, job: FoldJob, started: float, begun: _BegunTraining | None
) -> tuple[FoldContext, float]:
    """The fastest runtime for the network, found by timing it, and with a budget what it leaves for training.

    Returns:
        The context with both, and the seconds of an optimiser step.
    """
    plan, config = context.plan, context.config
    configuration = context.configuration.with_(batch_size=len(ranks().share(context.configuration.batch_size)))
    timed = job.trainer.traits.training_step(configuration, context.input_channels, plan.labels.outputs)
    runtime, batch_seconds = measure_step(timed, context.runtime)
    if begun is None:
        context = replace(context, runtime=runtime)
    step_seconds = batch_seconds * config.accumulation
    logger.info(
        "%s fold %s on %s: %s, %s, %.3f s per step", context.configuration_name, context.fold, context.runtime.device,
        context.runtime.precision, context.runtime.layout.replace("_", " "), step_seconds,
    )  # fmt: skip
    if job.budget is None:
        return context, step_seconds
    trainer = job.trainer.make(context)
    validating = trainer.validation_seconds(batch_seconds) if isinstance(trainer, Validates) else 0.0
    reserve = validating * 1.3 + _SCORING_SECONDS * len(context.split.validation)
    seconds = training_seconds(job.budget - (time.monotonic() - started), reserve)
    logger.info("%s of training, about %s of validation", duration(seconds), duration(reserve))
    # The clock counts from the first step, also over several calls.
    spent = begun.seconds if begun else 0.0
    return replace(context, config=config.with_(seconds=seconds + spent)), step_seconds


def training_seconds(left: float, reserve: float) -> float:
    """Seconds of training out of those left when the validation is expected to take `reserve`.

    At least half: on a busy machine the estimate may be several times too long, and a network that was hardly trained
    is worth nothing. If the validation does take that long, the time is missing to what comes after it.
    """
    return max(_LEAST_TRAINING, left / 2, left - reserve)


def _train(trainer: Trainer, context: FoldContext, request: TrainingRequest) -> Outcome | None:
    """Trains a fold; None if its latest training is finished and the request goes on with it."""
    if request.resume and fold_state(context.folder).trained:
        logger.info("%s fold %s is trained already", context.configuration_name, context.fold)
        return None
    task = trainer.task()
    loaded: tuple[str, ...] = ()
    if request.pretrained is not None:
        file = starting_weights(request.pretrained, context.configuration_name, context.fold)
        moved = transfer_weights(task.network, starting_tensors(load_checkpoint(file)), where=file)
        for line in moved.lines():
            logger.info("%s", line)
        loaded = (*moved.loaded, *moved.adapted)
    outcome = Training(
        task,
        context.config,
        context.runtime,
        context.folder,
        dimension=context.configuration.dimension,
        hooks=partial(default_hooks, names=context.config.hooks),
        start=Start(trainer=context.trainer, loaded=loaded, resume=request.resume),
    ).run()
    if context.config.steps is None and outcome.finished and outcome.steps < _FEW_STEPS:
        logger.warning(
            "%s fold %s had time for %s only, where a model needs some thousands: give it more time",
            context.configuration_name, context.fold, counted(outcome.steps, "step"),
        )  # fmt: skip
    return outcome


def validated_scores(trainer: Trainer, context: FoldContext, workers: int | None) -> Scores:
    """Predicts and scores the validation cases of a fold; writes its validation/summary.json."""
    assert isinstance(trainer, Validates)
    name = f"{context.configuration_name} fold {context.fold}"
    predicted = trainer.predict_validation()
    validated = predicted if isinstance(predicted, Validated) else Validated(predicted)
    return score_validation(
        context.folder, context.dataset, validated.files, name, beside=validated.scores, workers=workers
    )
