"""One fold of one configuration: trained, validated, scored."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoseg import plugins
from autoseg.errors import ErrorGroup, ImageError
from autoseg.evaluation.evaluate import evaluate_files
from autoseg.log import duration, logger
from autoseg.networks.transfer import transfer_weights
from autoseg.pipeline.choices import GPU_STEPS, check_length, count_workers, default_seconds, split_of
from autoseg.pipeline.stages import load_dataset, load_plan
from autoseg.records import unknown_name, write_json
from autoseg.trainers.context import FoldContext, Trainer
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.config import TrainingConfig, optimizer_for
from autoseg.training.hooks import default_hooks
from autoseg.training.loop import Training, begun_with
from autoseg.training.measure import measure_step
from autoseg.training.runtime import base_runtime, find_device, steady_runtime
from autoseg.workspace import Run

_LEAST_TRAINING = 10.0
_SCORING_SECONDS = 0.15  # writing and scoring a small validation case


def train_fold(
    out: Path,
    configuration: str,
    fold: int | str,
    *,
    budget: float | None = None,
    steps: int | None = None,
    device: str = "auto",
    trainer: str = "segmentation",
    loss: str | None = None,
    pretrained: Path | None = None,
    seed: int = 0,
    workers: int | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Trains and validates one fold; returns the content of its validation/summary.json.

    With a budget, training ends early enough for the validation to fit in too. Without steps and budget the
    training is as long as nnU-Net's on an accelerator and an hour on a CPU.
    """
    started = time.monotonic()
    check_length(budget, steps)
    run = Run(out)
    dataset, plan = load_dataset(run), load_plan(run)
    if configuration not in plan.configurations:
        raise unknown_name("configuration", configuration, plan.configurations, where=run.plan)
    run.require(run.preprocessed(configuration), f"autoseg preprocess {out} --configurations {configuration}")
    device = find_device(device)
    split = split_of(run, dataset, fold)
    seconds = None if steps else (budget or default_seconds(device))
    config = TrainingConfig(steps=steps if steps or seconds else GPU_STEPS, seconds=seconds, seed=seed, loss=loss)
    begun = begun_with(run.fold(configuration, fold)) if resume else None
    runtime = begun[0] if begun else steady_runtime(base_runtime(device, workers))
    context = FoldContext(run, dataset, plan, configuration, str(fold), split, config, runtime, trainer)
    expected_steps = float(config.steps or 0)
    if config.steps is None:
        context, step_seconds = _fit_to_time(context, started, budget, keep_runtime=begun is not None)
        assert context.config.seconds is not None
        expected_steps = context.config.seconds / step_seconds
    optimizer = begun[1].optimizer if begun else optimizer_for(expected_steps)
    context = replace(context, config=context.config.with_(optimizer=optimizer))
    made = plugins.resolve("trainer", trainer)(context)
    _train(made, context, pretrained, resume)
    predictions = made.predict_validation()
    pairs = {
        case.id: (predictions[case.id], case.label)
        for case in dataset.training
        if case.id in predictions and case.label
    }
    scores = evaluate_files(pairs, dataset.labels, workers=count_workers(workers))
    if scores["errors"]:
        raise ErrorGroup(
            f"{configuration} fold {fold}: validation cases cannot be scored",
            [ImageError(message, where=case) for case, message in scores["errors"].items()],
        )
    write_json(context.folder.validation_summary, scores)
    return scores


def _train(made: Trainer, context: FoldContext, pretrained: Path | None, resume: bool) -> None:
    """Trains a fold unless its final weights are there already."""
    if resume and context.folder.final.exists():
        logger.info("%s fold %s is trained already", context.configuration_name, context.fold)
        return
    task = made.task()
    if pretrained is not None:
        moved = transfer_weights(task.network, load_checkpoint(pretrained)["network"], where=pretrained)
        logger.info("pretrained: %s", moved.describe())
    training = Training(
        task, context.config, context.runtime, context.folder, dimension=context.configuration.dimension, hooks=()
    )
    if resume:
        training.resume()
    training.hooks = default_hooks(context.folder, training.clock.step)
    training.run()


def _fit_to_time(
    context: FoldContext, started: float, budget: float | None, *, keep_runtime: bool
) -> tuple[FoldContext, float]:
    """The fastest runtime for the network, found by timing it, and with a budget what it leaves for training.

    Returns:
        The context with both, and the seconds of a step.
    """
    plan, configuration = context.plan, context.configuration
    runtime, step_seconds = measure_step(configuration, len(plan.channels), plan.labels.outputs, context.runtime)
    if not keep_runtime:
        context = replace(context, runtime=runtime)
    logger.info(
        "%s on %s: %s, %s, %.3f s a step", context.configuration_name, context.runtime.device,
        context.runtime.precision, context.runtime.layout.replace("_", " "), step_seconds,
    )  # fmt: skip
    if budget is None:
        return context, step_seconds
    made = plugins.resolve("trainer", context.trainer)(context)
    reserve = made.validation_seconds(step_seconds) * 1.3 + _SCORING_SECONDS * len(context.split.validation)
    seconds = max(_LEAST_TRAINING, budget - (time.monotonic() - started) - reserve)
    logger.info("%s of training, about %s of validation", duration(seconds), duration(reserve))
    return replace(context, config=context.config.with_(seconds=seconds)), step_seconds
