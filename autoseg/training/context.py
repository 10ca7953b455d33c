"""What a trainer plug-in is given, and what it must offer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from autoseg.data.dataset import Dataset, Reading
from autoseg.data.splits import Split
from autoseg.plan.layers import input_channels
from autoseg.plan.record import SEGMENTATION, ConfigurationPlan, Plan
from autoseg.plan.sharing import store_of
from autoseg.training.choices import chosen_configuration
from autoseg.training.config import TrainingConfig, optimizer_for
from autoseg.training.measure import training_step
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


def usual_method(configuration: ConfigurationPlan, config: TrainingConfig, steps: float) -> TrainingConfig:
    """The config with an optimiser that suits the number of steps, where the user chose none."""
    return config if config.optimizer is not None else config.with_(optimizer=optimizer_for(steps))


@dataclass(frozen=True)
class SeenImages:
    """Images that a training has learned from.

    Attributes:
        digests: of their voxels (`autoseg.data.digest.image_digest`).
        held_out: what was kept out of it, in words; None if nothing was.
    """

    digests: Collection[str] = ()
    held_out: str | None = None


def all_tensors(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a checkpoint, every one of them."""
    weights: dict[str, Tensor] = checkpoint["network"]
    return weights


def nothing_seen(pretrained: Path) -> SeenImages:
    """For trainers whose cases are known from the splits."""
    return SeenImages()


@dataclass(frozen=True)
class Handover:
    """What a finished training gives to one that starts from its weights.

    Attributes:
        task: what the plan of the other is for, where its own networks are only made to start others; None where they
            are of use by themselves.
        tensors: of a checkpoint, those that the other network takes.
        seen: of a run folder or a checkpoint file, the images that the other must not be validated on.
    """

    task: str | None = None
    tensors: Callable[[Mapping[str, Any]], dict[str, Tensor]] = all_tensors
    seen: Callable[[Path], SeenImages] = nothing_seen


@dataclass(frozen=True)
class Traits:
    """What the stages around a training must know of its trainer; the defaults are those of segmentation.

    Attributes:
        task: what its networks do; it trains plans that are for this task (`plan.record.Plan.task`).
        planner: plug-in that plans for it where the user names none; None leaves that to budget and device.
        options: names that `TrainingConfig.options` may have.
        needs_labels: refuses data sets in which an image has no label.
        postprocesses: label post-processing is chosen on its validation.
        usage: how its networks are applied to new images, with {run} for the run folder.
        begun_by: how its trainings are begun, where `plan` and `train` are not enough; None where they are.
        handover: what other trainings get that start from its weights.
        method: completes the user's choices for (configuration, config, expected steps).
        training_step: (configuration, channels, outputs) -> a whole step on random data, to be timed under a runtime.
    """

    task: str = SEGMENTATION
    planner: str | None = None
    options: tuple[str, ...] = ()
    needs_labels: bool = True
    postprocesses: bool = True
    usage: str = "autoseg predict {run} IMAGES --out DIR"
    begun_by: str | None = None
    handover: Handover = Handover()
    method: Callable[[ConfigurationPlan, TrainingConfig, float], TrainingConfig] = usual_method
    training_step: Callable[[ConfigurationPlan, int, int], Callable[[Runtime], None]] = training_step


def traits_of(trainer: Any) -> Traits:
    """The `traits` of a trainer plug-in; those of segmentation for one that states none."""
    traits: Traits = getattr(trainer, "traits", Traits())
    return traits


@dataclass(frozen=True)
class Validated:
    """What a validation made.

    Attributes:
        files: identifier -> label file to compare with the case's label.
        scores: identifier -> further rows of scores (row -> metric -> value), which stand beside those of the labels.
    """

    files: dict[str, Path]
    scores: dict[str, dict[str, dict[str, float | None]]] = field(default_factory=dict)


class Trainer(Protocol):
    """A plug-in of kind "trainer": made from a `FoldContext`.

    It may state `traits` where it differs from the usual, and it may do more than train: validate (`Validates`), and
    apply its networks to new images (`Applies`).
    """

    def __init__(self, context: FoldContext) -> None: ...

    def task(self) -> Task:
        """What the loop trains."""
        ...


@runtime_checkable
class Validates(Protocol):
    """A trainer whose networks are judged on the validation cases of their fold."""

    def validation_seconds(self, step_seconds: float) -> float:
        """An estimate of what `predict_validation` takes, from the seconds of a training step."""
        ...

    def predict_validation(self) -> dict[str, Path] | Validated:
        """Predicts the fold's validation cases with the final weights, by the path that users predict with.

        Returns:
            Identifier -> file of the prediction, one for every validation case; with scores of the trainer's own
            beside them where it has any.
        """
        ...


@runtime_checkable
class Applies(Protocol):
    """A trainer whose networks are of use on new images, by the command `predict`."""

    @classmethod
    def apply(cls, run: Path, inputs: Sequence[Path], folder: Path, request: PredictionRequest) -> list[str]:
        """Applies a run's networks to images.

        Args:
            run: folder of a run that is trained, as far as the request needs it.
            inputs: a folder, or image files.
            folder: for the results.
            request: what else the user asks.

        Returns:
            A message for each case that could not be done; the others are.
        """
        ...


@dataclass(frozen=True)
class PredictionRequest:
    """What a user asks of a prediction.

    Attributes:
        configuration: a name, names joined by "+" for their ensemble, or None for the best of the run.
        folds: "all" that are trained, "all-data" for the model of all data, or numbers joined by commas.
        save_probabilities: write the classes' probabilities as well.
        uncertainty: write as well where the networks contradict each other.
        keep_existing: leave images whose result is there already.
        mirroring: average over mirror copies.
        skip_empty: leave out tiles in which each channel has one value only.
        device: "auto", "cpu", "cuda", "mps".
        reading: how the images are read where they leave a choice.
    """

    configuration: str | None = None
    folds: str = "all"
    save_probabilities: bool = False
    uncertainty: bool = False
    keep_existing: bool = False
    mirroring: bool = True
    skip_empty: bool = False
    device: str = "auto"
    reading: Reading | None = None
