"""What a trainer plug-in is given, and what it must offer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from autoseg.data.dataset import Dataset
from autoseg.data.splits import Split
from autoseg.plan.layers import input_channels
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.plan.sharing import store_of
from autoseg.training.choices import chosen_configuration
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
        keep_probabilities: the validation keeps probabilities beside its labels, from which ensembles are made.
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
    keep_probabilities: bool = True

    @cached_property
    def configuration(self) -> ConfigurationPlan:
        """The configuration's plan, with what the user chose instead."""
        return chosen_configuration(self.plan, self.configuration_name, self.config)

    @property
    def input_channels(self) -> int:
        """Channels of the network's input: the image's, and in a cascade those of the previous stage's labels."""
        return input_channels(self.configuration, len(self.plan.channels), self.plan.labels)

    @property
    def folder(self) -> Fold:
        """The fold's folder."""
        return self.run.fold(self.configuration_name, self.fold)

    @property
    def store_folder(self) -> Path:
        """The configuration's preprocessed cases, which it may share with another configuration."""
        return self.run.preprocessed(store_of(self.plan, self.configuration_name))


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
