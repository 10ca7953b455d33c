"""New images through a trained run, whatever its networks do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoseg import plugins
from autoseg.errors import ConfigurationError
from autoseg.inference.formats import model_folder
from autoseg.plan.record import Plan
from autoseg.training.context import Applies, PredictionRequest, traits_of
from autoseg.workspace import Run


def predict(
    run: Path, inputs: Sequence[Path], folder: Path, request: PredictionRequest | None = None, **options: Any
) -> list[str]:
    """Applies a run's model to images, by the trainer of its plan.

    Args:
        run: run folder, or a model file that `autoseg export` made.
        inputs: a folder, or image files.
        folder: for the results.
        request: what else is asked.
        options: fields of a `PredictionRequest`, in place of one.

    Returns:
        A message for each case that could not be done.

    Raises:
        ConfigurationError: the run's networks are not applied to single images; the command that uses them is named.
    """
    request = request or PredictionRequest(**options)
    model_run = Run(model_folder(run))
    plan = Plan.load(model_run.require(model_run.plan, "autoseg plan-and-train"))
    trainer = plugins.resolve("trainer", plan.task)
    if not issubclass(trainer, Applies):
        raise ConfigurationError(
            "the run's model is not applied to single images",
            where=run,
            got=f"a model for {plan.task}",
            remedy=f"use it with: {traits_of(trainer).usage.format(run=run)}",
        )
    return trainer.apply(model_run.root, inputs, folder, request)
