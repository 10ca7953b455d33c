"""How long a training step of a planned network takes on this machine, and in which precision and layout."""

from __future__ import annotations

from collections.abc import Callable

import torch

from autoseg.allocation import freed_memory_kept
from autoseg.losses.compound import dice_cross_entropy
from autoseg.losses.deep_supervision import deep_supervision
from autoseg.losses.target import Target
from autoseg.networks.build import build_network
from autoseg.plan.record import ConfigurationPlan
from autoseg.training.config import OptimizerConfig, TrainingConfig
from autoseg.training.optimizer import Descent
from autoseg.training.runtime import Runtime, base_runtime, seconds_of, steady_runtime, tune_runtime


def training_step(configuration: ConfigurationPlan, channels: int, outputs: int) -> Callable[[Runtime], None]:
    """A whole step (forward, loss, backward, update) on random data, to be timed under different runtimes.

    The loss is over the logits of as many resolutions as the network gives: a list, or those of full resolution alone.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((configuration.batch_size, channels, *configuration.patch_size), generator=generator)
    label_shape = (configuration.batch_size, 1, *configuration.patch_size)
    labels = torch.randint(0, max(2, outputs), label_shape, generator=generator)
    batch_dice = configuration.batch_dice
    loss = deep_supervision(lambda x, y: dice_cross_entropy(x, y, batch_dice=batch_dice), configuration.strides)

    def prepare(runtime: Runtime) -> Callable[[], None]:
        network = build_network(configuration, channels, max(2, outputs), seed=0)
        network.deep_supervision = configuration.deep_supervision  # type: ignore[assignment]
        network = runtime.place(network, configuration.dimension)
        descent = Descent(network, OptimizerConfig(), runtime, clip=TrainingConfig().gradient_clip)
        image = images.to(runtime.device).contiguous(memory_format=runtime.memory_format(configuration.dimension))
        target = Target.from_labels(labels.to(runtime.device))

        def work() -> None:
            with runtime.autocast():
                logits = network(image)
                value = loss(logits if isinstance(logits, list) else [logits], target)
            descent.add_gradient(value)
            descent.step(OptimizerConfig().rate)

        return work

    return under_any_runtime(prepare)


def under_any_runtime(prepare: Callable[[Runtime], Callable[[], None]]) -> Callable[[Runtime], None]:
    """A step to be timed, from what makes it ready for a runtime: once for calls in a row, and done when it returns."""
    steps: dict[Runtime, Callable[[], None]] = {}

    def step(runtime: Runtime) -> None:
        if runtime not in steps:
            steps.clear()  # one network at a time in memory
            steps[runtime] = prepare(runtime)
        steps[runtime]()
        if torch.device(runtime.device).type == "cuda":
            torch.cuda.synchronize()

    return step


def measure_step(step: Callable[[Runtime], None], runtime: Runtime) -> tuple[Runtime, float]:
    """The fastest runtime for a `training_step` and its seconds under it (about ten steps are done)."""
    with freed_memory_kept():
        return tune_runtime(runtime, step)


def step_seconds(step: Callable[[Runtime], None], device: str) -> float:
    """Seconds of a `training_step` with the usual precision and layout of a device, from two steps at most."""
    runtime = steady_runtime(base_runtime(device))
    with freed_memory_kept():
        return seconds_of(lambda: step(runtime), repeats=1)
