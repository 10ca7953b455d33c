"""This project's training loop on one batch: seconds and losses of its steps as JSON, or where they go."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from autoseg.allocation import freed_memory_kept
from autoseg.batches.source import Batch
from autoseg.losses.compound import dice_cross_entropy
from autoseg.losses.deep_supervision import deep_supervision
from autoseg.losses.target import Target
from autoseg.networks.build import build_network
from autoseg.plan.record import ConfigurationPlan, Plan
from autoseg.training.config import OptimizerConfig, TrainingConfig
from autoseg.training.hooks import RoundReport
from autoseg.training.loop import Training
from autoseg.training.measure import training_step
from autoseg.training.runtime import Runtime, seconds_of
from autoseg.workspace import Fold

CONFIGURATION = "3d_fullres"
ENDLESS = 10**9  # steps of a schedule of which only the first are done: the rate stays what it is


class OneBatch:
    """A task of the training loop (see `autoseg.training.task.Task`) that sees the same batch in every step."""

    labels: tuple[str, ...] = ()

    def __init__(self, plan: ConfigurationPlan, network: nn.Module, batch: Batch) -> None:
        self.network, self._batch = network, batch
        self._losses = deep_supervision(lambda x, y: dice_cross_entropy(x, y, batch_dice=plan.batch_dice), plan.strides)

    @contextmanager
    def batches(self, steps: range, stream: int) -> Iterator[Iterator[Batch]]:
        """The batch, again and again."""
        yield repeat(self._batch)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Dice plus cross-entropy over the supervised resolutions."""
        return self._losses(network(batch.image), Target.from_labels(batch.target))

    def validation(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Not asked for: the share of validation is zero."""
        raise NotImplementedError

    def scores(self, counts: Tensor) -> dict[str, float | None]:
        """None."""
        return {}

    def adapt(self, network: nn.Module, step: int, place: Any) -> bool:
        """Nothing changes."""
        return False

    def state(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


@dataclass
class Watch:
    """A hook that keeps seconds and loss of every round, and the weights after the first in `after`."""

    network: nn.Module
    after: Path | None
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def round(self, report: RoundReport) -> None:
        """After each round."""
        if not self.losses and self.after is not None:
            torch.save({name: weight.detach().cpu() for name, weight in self.network.state_dict().items()}, self.after)
        self.seconds.append(report.step_seconds)
        self.losses.append(report.loss)

    def end(self) -> None:
        """Nothing to close."""


def main() -> None:
    """The command."""
    options = _options()
    plan = Plan.load(options.folder / "plan.json")
    runtime = Runtime(
        device=options.device, precision=options.precision, layout="channels_last", compiled=options.compile,
        threads=options.threads,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        watch, training = _training(options, plan, runtime, Fold(Path(folder)))
        if options.profile:
            with profile(activities=[ProfilerActivity.CPU]) as profiled:
                training.run()
            operations = {event.key: event.self_cpu_time_total / 1e6 for event in profiled.key_averages()}
            print(json.dumps({"operations": operations, "runtimes": _runtimes(plan, runtime)}))
            return
        training.run()
    warm = options.warm_up
    print(json.dumps({"seconds": watch.seconds[warm:], "losses": watch.losses}))


def _training(options: argparse.Namespace, plan: Plan, runtime: Runtime, fold: Fold) -> tuple[Watch, Training]:
    one = plan.configurations[CONFIGURATION]
    network = build_network(one, len(plan.channels), plan.labels.outputs)
    network.load_state_dict(torch.load(options.folder / "weights_ours.pt", weights_only=True))
    network.deep_supervision = True  # type: ignore[assignment]
    with np.load(options.folder / "batch.npz") as stored:
        image, labels = torch.from_numpy(stored["image"]), torch.from_numpy(stored["labels"])
    batch = Batch(image=image, target=labels, cases=("random",), starts=(), step=0)
    if options.device == "cuda":
        batch = batch.pin_memory()
    rounds = 2 if options.profile else options.warm_up + options.steps
    config = TrainingConfig(
        steps=ENDLESS, stop_after=rounds * options.group, round_steps=options.group, validation_share=0,
        optimizer=OptimizerConfig(),
    )  # fmt: skip
    watch = Watch(network, options.after)
    return watch, Training(
        OneBatch(one, network, batch), config, runtime, fold, dimension=one.dimension, hooks=lambda *_: (watch,)
    )


def _runtimes(plan: Plan, runtime: Runtime) -> dict[str, float]:
    """Seconds of a step by precision and layout: what a training by time chooses from."""
    found = {}
    step = training_step(plan.configurations[CONFIGURATION], len(plan.channels), plan.labels.outputs)
    with freed_memory_kept():
        for precision in ("float32", "bfloat16"):
            for layout in ("contiguous", "channels_last"):
                candidate = runtime.with_(precision=precision, layout=layout)
                name = f"{precision} {layout.replace('_', ' ')}"
                found[name] = seconds_of(lambda: step(candidate), 3, patience=1.0)  # noqa: B023
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--after", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--group", type=int, default=1, help="steps timed together")
    return parser.parse_args()


if __name__ == "__main__":
    main()
