"""The choice of a run's model from what is validated, with the validations that it lacks made up for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from autoseg.evaluation.run import summarise_run
from autoseg.evaluation.scores import Scores
from autoseg.evaluation.summary import Summary
from autoseg.inference.model import runtime_of
from autoseg.pipeline.planned import PlannedRun
from autoseg.pipeline.trainers import named_trainer, trainer_of
from autoseg.pipeline.training import validated_scores
from autoseg.report.build import write_report
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.config import TrainingConfig
from autoseg.training.context import FoldContext
from autoseg.training.runtime import find_device
from autoseg.workspace import Run


def summarise(planned: PlannedRun, *, device: str = "auto", workers: int | None = None) -> Summary:
    """`evaluation.run.summarise_run`, for which folds without saved probabilities are predicted again."""
    traits = trainer_of(planned.plan).traits
    return summarise_run(
        planned.run,
        planned.dataset,
        planned.plan,
        predict_again=partial(validate_again, planned, device=device, workers=workers),
        workers=workers,
        postprocesses=traits.postprocesses,
        usage=traits.usage,
    )


def validate_again(
    planned: PlannedRun, configuration: str, fold: str, *, device: str = "auto", workers: int | None = None
) -> Scores:
    """Predicts and scores the validation of a trained fold anew, and keeps its probabilities.

    Args:
        planned: run.
        configuration, fold: names of a trained fold.
        device: "auto", "cpu", "cuda", "mps".
        workers: processes; None takes one per usable core.

    Returns:
        Its scores, as its validation/summary.json has them.

    Raises:
        WorkspaceError: the fold is not trained, or its preprocessed cases are gone.
    """
    checkpoint = load_checkpoint(planned.run.fold(configuration, fold).final)
    trainer = named_trainer(checkpoint.get("trainer") or planned.plan.task)
    context = FoldContext(
        run=planned.run,
        dataset=planned.dataset,
        plan=planned.plan,
        configuration_name=configuration,
        fold=fold,
        split=planned.split(fold),
        config=TrainingConfig.model_validate(checkpoint.get("config", {})),
        runtime=runtime_of(checkpoint["runtime"], find_device(device)),
        trainer=trainer.name,
        keep_probabilities=True,
    )
    return validated_scores(trainer.make(context), context, workers)


def choose(out: Path, *, device: str = "auto", workers: int | None = None) -> Summary:
    """Chooses anew and writes summary.json, postprocessing.json and report.html; nothing is trained.

    For runs whose folds were trained one by one, on several machines for instance.

    Args:
        out: run folder with validated folds.
        device: for validations that must be predicted again.
        workers: processes; None takes one per usable core.

    Raises:
        WorkspaceError: no fold is validated.
    """
    planned = PlannedRun.load(Run(out))
    summary = summarise(planned, device=device, workers=workers)
    write_report(planned.run)
    return summary
