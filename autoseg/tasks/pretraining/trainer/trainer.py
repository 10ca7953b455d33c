"""Pretraining as a plug-in of kind "trainer": the same loop, checkpoints and run folder as segmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from autoseg.plan.record import SEGMENTATION, ConfigurationPlan
from autoseg.tasks.pretraining.batch import ViewBatch, collate
from autoseg.tasks.pretraining.methods.build import build_pretraining_network
from autoseg.tasks.pretraining.protocol import PretrainingMethod
from autoseg.tasks.pretraining.trainer.adaptation import seen_images, starting_tensors
from autoseg.tasks.pretraining.trainer.options import TASK, PretrainingOptions, chosen_method
from autoseg.tasks.pretraining.trainer.task import PretrainingTask, TeacherFollower
from autoseg.training.config import OptimizerConfig, ScheduleConfig, TrainingConfig
from autoseg.training.context import FoldContext, Handover, Traits
from autoseg.training.measure import under_any_runtime
from autoseg.training.optimizer import Descent
from autoseg.training.runtime import Runtime

_WARM_UP = 0.05  # share of the training


def method(configuration: ConfigurationPlan, config: TrainingConfig, steps: float) -> TrainingConfig:
    """AdamW with a warm-up and a cosine to zero, where the user chose nothing else."""
    changes: dict[str, Any] = {}
    if config.optimizer is None:
        changes["optimizer"] = OptimizerConfig(name="adamw", learning_rate=1e-3, weight_decay=0.01)
    if config.schedule is None:
        changes["schedule"] = ScheduleConfig(name="cosine", warm_up=_WARM_UP)
    return config.with_(**changes) if changes else config


def training_step(configuration: ConfigurationPlan, channels: int, outputs: int) -> Callable[[Runtime], None]:
    """A whole step of the configuration's method on random images, to be timed under different runtimes."""
    setting, chosen = chosen_method(configuration, [f"image{number}" for number in range(channels)])
    batch = _random_batch(chosen, setting.frame.size, channels, setting.samples)

    def prepare(runtime: Runtime) -> Callable[[], None]:
        dimension = configuration.dimension
        network = build_pretraining_network(setting, chosen, seed=0)
        runtime.place(network, dimension)
        follower = TeacherFollower(network, chosen)
        descent = Descent(network, OptimizerConfig(name="adamw"), runtime, clip=TrainingConfig().gradient_clip)
        placed = batch.to(runtime.device, runtime.memory_format(dimension))

        def work() -> None:
            with runtime.autocast():
                target = follower.target(placed)
                follower.remember(target)
                value = chosen.loss(network(placed), target, placed)
            descent.add_gradient(value)
            descent.step(1e-4)
            follower.update(0.0)

        return work

    return under_any_runtime(prepare)


class PretrainingTrainer:
    """An encoder learned from images without labels, by one of several methods."""

    traits = Traits(
        task=TASK,
        options=tuple(PretrainingOptions.model_fields),
        needs_labels=False,
        postprocesses=False,
        usage="autoseg plan-and-train DATASET --out OTHER --pretrained {run}",
        begun_by="pretrain with `autoseg pretrain DATASET... --out OTHER`, or leave out --trainer",
        handover=Handover(task=SEGMENTATION, tensors=starting_tensors, seen=seen_images),
        method=method,
        training_step=training_step,
    )

    def __init__(self, context: FoldContext) -> None:
        self._context = context

    def task(self) -> PretrainingTask:
        """The encoder of the planned network with the method's heads, on views of all images."""
        return PretrainingTask(self._context)


def _random_batch(chosen: PretrainingMethod, shape: tuple[int, ...], channels: int, samples: int) -> ViewBatch:
    rng = np.random.default_rng(0)
    examples = []
    for _ in range(samples):
        drawn = chosen.draw(rng, shape)
        examples.append(chosen.make(rng.normal(size=(channels, *drawn.region.size)).astype(np.float32), drawn))
    return collate(examples, ["random"] * samples)
