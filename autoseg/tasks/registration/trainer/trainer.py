"""Registration as a plug-in of kind "trainer": the same folders, loop, run folder and report as segmentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autoseg.data.dataset import Case
from autoseg.log import logger
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.records import Record
from autoseg.tasks.registration.learned.network import build
from autoseg.tasks.registration.learned.objective import objective
from autoseg.tasks.registration.learned.pair_batch import PairBatch
from autoseg.tasks.registration.learned.settings import LearnedPlan
from autoseg.tasks.registration.trainer.model import RegistrationModel
from autoseg.tasks.registration.trainer.pairs import CasePair, Pairs, validation_pairs
from autoseg.tasks.registration.trainer.task import RegistrationTask, learned_plan, register_batch
from autoseg.tasks.registration.trainer.validation import mean_dice, validate_pairs
from autoseg.training.checkpoint import load_checkpoint
from autoseg.training.choices import chosen_configuration
from autoseg.training.config import OptimizerConfig, ScheduleConfig, TrainingConfig
from autoseg.training.context import FoldContext, Traits, Validated
from autoseg.training.measure import under_any_runtime
from autoseg.training.optimizer import Descent
from autoseg.training.runtime import Runtime
from autoseg.workspace import Fold

TASK = "registration"
MOST_PAIRS = 40
"""Pairs that a validation registers, where there are more than `ALL_PAIRS` cases."""
ALL_PAIRS = 52
"""Validation cases up to which each is the fixed image of a pair."""

_TRIED = 7  # weights, evenly spaced in their logarithm
_TRIED_PAIRS = 10
_FEW_FOLDS = 0.1  # per cent
_WARM_UP = 0.02  # share of the training
_PAIR_SECONDS = 0.3  # reading, warping labels and scoring a pair of small images


class ChosenWeight(Record):
    """The weight of the regulariser that a network for many weights is used with; the fold's `regularization`.

    Attributes:
        weight: the chosen one.
        tried: weight -> (mean Dice of validation pairs or null, per cent of folded voxels).
    """

    weight: float
    tried: dict[str, tuple[float | None, float]] = {}


def method(configuration: ConfigurationPlan, config: TrainingConfig, steps: float) -> TrainingConfig:
    """Adam with a cosine to zero, where the user chose nothing else: what registration networks are trained by."""
    changes: dict[str, Any] = {}
    if config.optimizer is None:
        rate = learned_plan(configuration).learning_rate
        changes["optimizer"] = OptimizerConfig(name="adamw", learning_rate=rate, weight_decay=0.0)
    if config.schedule is None:
        changes["schedule"] = ScheduleConfig(name="cosine", warm_up=_WARM_UP)
    return config.with_(**changes) if changes else config


def training_step(configuration: ConfigurationPlan, channels: int, outputs: int) -> Callable[[Runtime], None]:
    """A whole step on random images, to be timed under different runtimes."""
    plan = learned_plan(configuration)
    batch = _random_batch(plan.shape, plan.batch_size, channels, plan.labels)
    if plan.supervision == "deformations":
        flow = torch.zeros((plan.batch_size, plan.dimension, *plan.shape))
        batch = PairBatch(batch.fixed, batch.moving, known_flow=flow)
    loss = objective(plan)

    def prepare(runtime: Runtime) -> Callable[[], None]:
        network = runtime.place(build(plan, channels), plan.dimension)
        descent = Descent(network, OptimizerConfig(name="adamw"), runtime, clip=TrainingConfig().gradient_clip)
        placed = Pairs(batch, (), 0).to(runtime.device, runtime.memory_format(plan.dimension)).data

        def work() -> None:
            with runtime.autocast():
                flow, swapped = register_batch(network, plan, placed)
                value = loss(flow, placed, swapped=swapped)[0]
            descent.add_gradient(value)
            descent.step(1e-4)

        return work

    return under_any_runtime(prepare)


class RegistrationTrainer:
    """A network that lays one case of a data set on another."""

    traits = Traits(
        task=TASK,
        planner=TASK,
        options=tuple(name for name in LearnedPlan.model_fields if name not in ("shape", "spacing")),
        needs_labels=False,
        postprocesses=False,
        usage="autoseg register FIXED MOVING --model {run} --out DIR",
        method=method,
        training_step=training_step,
    )

    def __init__(self, context: FoldContext) -> None:
        self._context = context

    def task(self) -> RegistrationTask:
        """A network on random pairs of the fold's training cases."""
        return RegistrationTask(self._context)

    def validation_seconds(self, step_seconds: float) -> float:
        """A forward pass is about a third of a step; the rest is reading, warping and scoring."""
        plan = learned_plan(self._context.configuration)
        runs = 1 if plan.hyper_range is None else 1 + _TRIED * _TRIED_PAIRS / MOST_PAIRS
        return len(self._pairs) * runs * (step_seconds / plan.batch_size / 3 + _PAIR_SECONDS)

    def predict_validation(self) -> Validated:
        """Registers pairs of the fold's validation cases; see `validation.validate_pairs`.

        A network for many weights of the regulariser is first tried with several of them, and the one that suits the
        pairs best is written beside the weights.
        """
        context = self._context
        cases = {case.id: case for case in context.dataset.training}
        model = load_model(context.plan, context.configuration_name, context.folder, context.runtime)
        if model.learned.hyper_range is not None:
            chosen = choose_weight(model, self._pairs[:_TRIED_PAIRS], cases)
            chosen.save(context.folder.regularization)
            model = model.with_regularization(chosen.weight)
        return validate_pairs(model, self._pairs, cases, context.folder, context.plan.file_ending)

    @property
    def _pairs(self) -> tuple[CasePair, ...]:
        split = self._context.split
        atlas = learned_plan(self._context.configuration).atlas
        pairs = validation_pairs(split.validation, split.train, atlas)
        return pairs if len(pairs) <= ALL_PAIRS else pairs[:MOST_PAIRS]


def load_model(plan: Plan, name: str, fold: Fold, runtime: Runtime) -> RegistrationModel:
    """The network of a fold as it is after the last step, with the weight of its regulariser if one was chosen.

    Args:
        plan: of the run.
        name: of the configuration.
        fold: whose network.
        runtime: where and how it computes.

    Raises:
        WorkspaceError: the fold is not trained, or its checkpoint cannot be read.
    """
    checkpoint = load_checkpoint(fold.final)
    config = TrainingConfig.from_mapping(checkpoint["config"], where=fold.final)
    configuration = chosen_configuration(plan, name, config)
    learned = learned_plan(configuration)
    network = build(learned, len(plan.channels))
    network.load_state_dict(checkpoint["network"])
    weight = None
    if learned.hyper_range is not None:
        chosen = fold.regularization.exists()
        weight = ChosenWeight.load(fold.regularization).weight if chosen else learned.regularization
        weight = min(max(weight, learned.hyper_range[0]), learned.hyper_range[1])
    placed = runtime.place(network.eval(), learned.dimension)
    return RegistrationModel(plan, configuration, learned, placed, runtime, weight)  # type: ignore[arg-type]


def choose_weight(model: RegistrationModel, pairs: Sequence[CasePair], cases: Mapping[str, Case]) -> ChosenWeight:
    """The weight under which labels agree best; without labels the least that hardly folds."""
    assert model.learned.hyper_range is not None
    low, high = (math.log(weight) for weight in model.learned.hyper_range)
    weights = [float(f"{weight:.4g}") for weight in np.exp(np.linspace(low, high, _TRIED))]
    weights = [min(max(weight, model.learned.hyper_range[0]), model.learned.hyper_range[1]) for weight in weights]
    tried = {weight: mean_dice(model.with_regularization(weight), pairs, cases) for weight in weights}
    labelled = {weight: dice for weight, (dice, _) in tried.items() if dice is not None}
    if labelled:
        chosen = max(labelled, key=lambda weight: labelled[weight])
    else:
        chosen = next((weight for weight, (_, folded) in tried.items() if folded <= _FEW_FOLDS), weights[-1])
    logger.info("weight of the regulariser: %g, of %s", chosen, ", ".join(f"{weight:g}" for weight in weights))
    return ChosenWeight(weight=chosen, tried={f"{weight:g}": outcome for weight, outcome in tried.items()})


def _random_batch(shape: tuple[int, ...], pairs: int, channels: int, labels: int) -> PairBatch:
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn((pairs, channels, *shape), generator=generator) for _ in range(2)]
    masks = [torch.ones((pairs, *shape), dtype=torch.bool) for _ in range(2)]
    maps = [torch.randint(0, labels + 1, (pairs, *shape), generator=generator) for _ in range(2)] if labels else [None]
    return PairBatch(images[0], images[1], masks[0], masks[1], maps[0], maps[-1])
