"""One fold of one configuration: trained, validated, scored."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoseg import plugins
from autoseg.errors import AutosegError, WorkspaceError
from autoseg.evaluation.validation import score_validation
from autoseg.log import duration, logger
from autoseg.networks.transfer import transfer_weights
from autoseg.pipeline.choices import (
    GPU_STEPS,
    check_length,
    default_seconds,
    split_of,
    training_config,
)
from autoseg.pipeline.pretrained import refuse_leakage, starting_weights
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.stages import load_dataset, load_plan
from autoseg.pipeline.trainers import check_options, trainer_of
from autoseg.plan.sharing import store_of
from autoseg.records import unknown_name
from autoseg.tasks.pretraining.trainer.adaptation import starting_tensors
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.config import TrainingConfig
from autoseg.training.context import FoldContext, Trainer, Validated, traits_of
from autoseg.training.distributed import joined_ranks, on_leader, ranks
from autoseg.training.hooks import default_hooks
from autoseg.training.loop import Training
from autoseg.training.measure import measure_step
from autoseg.training.runtime import Runtime, base_runtime, find_device, steady_runtime
from autoseg.workspace import ALL_DATA, Fold, Run

_LEAST_TRAINING = 10.0
_FEW_STEPS = 300
_SCORING_SECONDS = 0.15  # writing and scoring a small validation case


def train_fold(
    out: Path,
    configuration: str,
    fold: int | str,
    *,
    budget: float | None = None,
    steps: int | None = None,
    device: str = "auto",
    trainer: str | None = None,
    loss: str | None = None,
    pretrained: Path | None = None,
    seed: int | None = None,
    workers: int | None = None,
    resume: bool = False,
    settings: Settings | None = None,
    keep_probabilities: bool = True,
) -> dict[str, Any] | None:
    """Trains and validates one fold.

    With a budget, training ends early enough for the validation to fit in too. Without steps and budget the
    training is as long as nnU-Net's on an accelerator and an hour on a CPU. Several processes started by torchrun
    train one model together. `pretrained` is a checkpoint, or a run folder whose same fold the training starts from.
    `trainer` is a plug-in; None takes that of the plan's task.

    Returns:
        The content of its validation/summary.json; None for the fold "all", which trains on every case.
    """
    started = time.monotonic()
    wanted = training_config(settings, steps=steps, seed=seed, loss=loss)
    check_length(budget, wanted)
    run, fold = Run(out), str(fold)
    dataset, plan = load_dataset(run), load_plan(run)
    trainer = trainer_of(plan, trainer)
    check_options(trainer, wanted)
    if configuration not in plan.configurations:
        raise unknown_name("configuration", configuration, plan.configurations, where=run.plan)
    run.require(
        run.preprocessed(store_of(plan, configuration)), f"autoseg preprocess {out} --configurations {configuration}"
    )
    device = find_device(device)
    begun = _begun(run.fold(configuration, fold)) if resume else None
    context = FoldContext(
        run=run,
        dataset=dataset,
        plan=plan,
        configuration_name=configuration,
        fold=fold,
        split=split_of(run, dataset, fold),
        config=_method(wanted, begun, budget, device),
        runtime=begun.runtime if begun else steady_runtime(base_runtime(device, workers)),
        trainer=trainer,
        keep_probabilities=keep_probabilities,
    )
    with joined_ranks(device):
        on_leader(lambda: refuse_leakage(pretrained, out, context.split.validation, workers))
        context = on_leader(lambda: _with_length(context, started, budget, begun))
        made = plugins.resolve("trainer", trainer)(context)
        _train(made, context, pretrained, resume)
        return None if fold == ALL_DATA else on_leader(lambda: validated_scores(made, context, workers))


@dataclass(frozen=True)
class _Begun:
    """What an unfinished training began with, so that it ends as it began, and the seconds it has had."""

    runtime: Runtime
    config: TrainingConfig
    seconds: float


def _begun(folder: Fold) -> _Begun | None:
    if not folder.last.exists():
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
    return _Begun(runtime, config, state["seconds"])


def _method(wanted: TrainingConfig, begun: _Begun | None, budget: float | None, device: str) -> TrainingConfig:
    """How to train: as asked, or as it began; with the length, as far as it is known without measuring."""
    if begun is not None:
        changed = [
            name
            for name, value in wanted
            if name not in ("steps", "seconds", "stop_after")
            and value not in (TrainingConfig.model_fields[name].get_default(), getattr(begun.config, name))
        ]
        if changed:
            logger.warning("the training goes on as it began; not used: training.%s", ", training.".join(changed))
    seconds = None if wanted.steps else budget or wanted.seconds or default_seconds(device)
    steps = wanted.steps if wanted.steps or seconds else GPU_STEPS
    method = begun.config if begun else wanted
    return method.with_(steps=steps, seconds=seconds, stop_after=wanted.stop_after)


def _with_length(context: FoldContext, started: float, budget: float | None, begun: _Begun | None) -> FoldContext:
    """The context with the fastest runtime, the seconds that the budget leaves, and a method that suits both."""
    expected_steps = float(context.config.steps or 0)
    if context.config.steps is None:
        context, step_seconds = _fit_to_time(context, started, budget, begun)
        assert context.config.seconds is not None
        expected_steps = context.config.seconds / step_seconds
    method = traits_of(plugins.resolve("trainer", context.trainer)).method
    return replace(context, config=method(context.configuration, context.config, expected_steps))


def _fit_to_time(
    context: FoldContext, started: float, budget: float | None, begun: _Begun | None
) -> tuple[FoldContext, float]:
    """The fastest runtime for the network, found by timing it, and with a budget what it leaves for training.

    Returns:
        The context with both, and the seconds of an optimiser step.
    """
    plan, config = context.plan, context.config
    configuration = context.configuration.with_(batch_size=len(ranks().share(context.configuration.batch_size)))
    step = traits_of(plugins.resolve("trainer", context.trainer)).training_step
    timed = step(configuration, context.input_channels, plan.labels.outputs)
    runtime, batch_seconds = measure_step(timed, context.runtime)
    if begun is None:
        context = replace(context, runtime=runtime)
    step_seconds = batch_seconds * config.accumulation
    logger.info(
        "%s fold %s on %s: %s, %s, %.3f s a step", context.configuration_name, context.fold, context.runtime.device,
        context.runtime.precision, context.runtime.layout.replace("_", " "), step_seconds,
    )  # fmt: skip
    if budget is None:
        return context, step_seconds
    made = plugins.resolve("trainer", context.trainer)(context)
    reserve = made.validation_seconds(batch_seconds) * 1.3 + _SCORING_SECONDS * len(context.split.validation)
    seconds = training_seconds(budget - (time.monotonic() - started), reserve)
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


def _train(made: Trainer, context: FoldContext, pretrained: Path | None, resume: bool) -> None:
    """Trains a fold unless its final weights are there already."""
    if resume and context.folder.final.exists():
        logger.info("%s fold %s is trained already", context.configuration_name, context.fold)
        return
    task = made.task()
    loaded: tuple[str, ...] = ()
    if pretrained is not None:
        file = starting_weights(pretrained, context.configuration_name, context.fold)
        moved = transfer_weights(task.network, starting_tensors(load_checkpoint(file)), where=file)
        for line in moved.lines():
            logger.info("%s", line)
        loaded = (*moved.loaded, *moved.adapted)
    training = Training(
        task, context.config, context.runtime, context.folder, dimension=context.configuration.dimension, hooks=(),
        trainer=context.trainer, loaded=loaded,
    )  # fmt: skip
    if resume:
        training.resume()
    if ranks().leads:
        training.hooks = default_hooks(context.folder, training.clock.step)
    outcome = training.run()
    if context.config.steps is None and outcome.finished and outcome.steps < _FEW_STEPS:
        logger.warning(
            "%s fold %s had time for %d steps only, where a model needs some thousands: give it more time",
            context.configuration_name, context.fold, outcome.steps,
        )  # fmt: skip


def validated_scores(made: Trainer, context: FoldContext, workers: int | None) -> dict[str, Any]:
    """Predicts and scores the validation cases of a fold; writes and returns its validation/summary.json."""
    name = f"{context.configuration_name} fold {context.fold}"
    found = made.predict_validation()
    validated = found if isinstance(found, Validated) else Validated(found)
    return score_validation(
        context.folder, context.dataset, validated.files, name, beside=validated.scores, workers=workers
    )
