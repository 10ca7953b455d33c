"""The choice of a run's model from what is validated, with the validations that it lacks made up for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from autoseg import plugins
from autoseg.evaluation.run import summarise_run
from autoseg.inference.model import runtime_of
from autoseg.pipeline.choices import split_of
from autoseg.pipeline.stages import load_dataset, load_plan
from autoseg.pipeline.trainers import task_traits
from autoseg.pipeline.training import validated_scores
from autoseg.report.build import write_report
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.config import TrainingConfig
from autoseg.training.context import FoldContext
from autoseg.training.runtime import find_device
from autoseg.workspace import Run


def summarise(run: Run, *, device: str = "auto", workers: int | None = None) -> dict[str, Any]:
    """`evaluation.run.summarise_run`, for which folds without saved probabilities are predicted again."""
    again = partial(validate_again, run, device=device, workers=workers)
    plan = load_plan(run)
    traits = task_traits(plan)
    return summarise_run(
        run,
        load_dataset(run),
        plan,
        predict_again=again,
        workers=workers,
        postprocesses=traits.postprocesses,
        usage=traits.usage,
    )


def validate_again(
    run: Run, configuration: str, fold: str, *, device: str = "auto", workers: int | None = None
) -> dict[str, Any]:
    """Predicts and scores the validation of a trained fold anew, and keeps its probabilities.

    Returns:
        The content of its validation/summary.json.

    Raises:
        WorkspaceError: the fold is not trained, or its preprocessed cases are gone.
    """
    dataset, plan = load_dataset(run), load_plan(run)
    checkpoint = load_checkpoint(run.fold(configuration, fold).final)
    context = FoldContext(
        run=run,
        dataset=dataset,
        plan=plan,
        configuration_name=configuration,
        fold=fold,
        split=split_of(run, dataset, fold),
        config=TrainingConfig.model_validate(checkpoint.get("config", {})),
        runtime=runtime_of(checkpoint["runtime"], find_device(device)),
        trainer=checkpoint.get("trainer") or plan.task,
        keep_probabilities=True,
    )
    return validated_scores(plugins.resolve("trainer", context.trainer)(context), context, workers)


def choose(out: Path, *, device: str = "auto", workers: int | None = None) -> dict[str, Any]:
    """Chooses anew and writes summary.json, postprocessing.json and report.html; nothing is trained.

    For runs whose folds were trained one by one, on several machines for instance.

    Args:
        out: run folder with validated folds.
        device: for validations that must be predicted again.
        workers: processes; None takes one a usable core.

    Returns:
        The content of summary.json.

    Raises:
        WorkspaceError: no fold is validated.
    """
    run = Run(out)
    summary = summarise(run, device=device, workers=workers)
    write_report(run)
    return summary
