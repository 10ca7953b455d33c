"""What a trainer plug-in is given, and what it must offer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from autoseg.data.dataset import Dataset
from autoseg.data.splits import Split
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.training.config import TrainingConfig
from autoseg.training.runtime import Runtime
from autoseg.training.task import Task
from autoseg.workspace import Fold, Run


@dataclass(frozen=True)
class FoldContext:
    """One fold of one configuration of a run.

    Attributes:
        fold: number of the fold, or "all".
        split: identifiers to train on and to validate on.
        trainer: name of the plug-in.
    """

    run: Run
    dataset: Dataset
    plan: Plan
    configuration_name: str
    fold: str
    split: Split
    config: TrainingConfig
    runtime: Runtime
    trainer: str = "segmentation"

    @property
    def configuration(self) -> ConfigurationPlan:
        """The configuration's plan."""
        return self.plan.configurations[self.configuration_name]

    @property
    def folder(self) -> Fold:
        """The fold's folder."""
        return self.run.fold(self.configuration_name, self.fold)

    @property
    def store_folder(self) -> Path:
        """The configuration's preprocessed cases."""
        return self.run.preprocessed(self.configuration_name)


class Trainer(Protocol):
    """A plug-in of kind "trainer": made from a `FoldContext`."""

    def __init__(self, context: FoldContext) -> None: ...

    def task(self) -> Task:
        """What the loop trains."""
        ...

    def validation_seconds(self, step_seconds: float) -> float:
        """An estimate of what `predict_validation` takes, from the seconds of a training step."""
        ...

    def predict_validation(self) -> dict[str, Path]:
        """Predicts the fold's validation cases with the final weights, by the path that users predict with.

        Returns:
            Identifier -> file of the prediction, one for every validation case.
        """
        ...
