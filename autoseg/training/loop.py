"""The training loop: steps, rounds, resume. It owns everything that is the same for every task."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.errors import TrainingError
from autoseg.log import logger
from autoseg.training.averaging import WeightAverage
from autoseg.training.checkpoint import load_checkpoint, save_checkpoint
from autoseg.training.config import OptimizerConfig, TrainingConfig
from autoseg.training.hooks import Hook, RoundReport
from autoseg.training.interrupt import deferred_interrupt
from autoseg.training.runtime import Runtime
from autoseg.training.schedule import Clock, learning_rate
from autoseg.training.task import TRAINING, VALIDATION, Task
from autoseg.workspace import Fold

_ENDLESS = 10**9
_CHECK_LATER = 16  # steps between two looks at the losses of a device that runs ahead


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        finished: False when it was stopped early on purpose (`stop_after`).
        steps: optimiser steps done.
        seconds: wall-clock seconds of training.
        best_score: highest smoothed online validation score, if there was any.
    """

    finished: bool
    steps: int
    seconds: float
    best_score: float | None


def make_optimizer(network: nn.Module, config: OptimizerConfig, device: str) -> torch.optim.Optimizer:
    """The optimiser that the configuration names, fused where the device has a fused kernel."""
    fused = torch.device(device).type in ("cpu", "cuda")
    weights = network.parameters()
    if config.name == "adamw":
        return torch.optim.AdamW(
            weights, lr=config.learning_rate, betas=(0.9, 0.999), weight_decay=config.weight_decay, fused=fused
        )
    return torch.optim.SGD(
        weights,
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
        fused=fused,
    )


class Training:
    """One training in progress: the only thing that changes while it runs.

    Args:
        task: what is trained.
        config: how long and by which method.
        runtime: where.
        fold: folder for checkpoints and metrics.
        dimension: spatial dimensions of the images, for the memory layout.
        hooks: called in this order after every round and at the end.
    """

    def __init__(
        self,
        task: Task,
        config: TrainingConfig,
        runtime: Runtime,
        fold: Fold,
        *,
        dimension: int,
        hooks: tuple[Hook, ...],
    ) -> None:
        self.task, self.config, self.runtime, self.fold, self.hooks = task, config, runtime, fold, hooks
        self.layout = runtime.memory_format(dimension)
        self.network = runtime.place(task.network, dimension)
        self.forward: Any = torch.compile(self.network) if runtime.compiled else self.network
        self.optimizer = make_optimizer(self.network, config.optimizer, runtime.device)
        self.scaler = torch.amp.GradScaler(runtime.device, enabled=runtime.precision == "float16")
        self.average = None if config.ema_decay is None else WeightAverage(self.network, config.ema_decay)
        self.clock = Clock(config)
        self.round_steps = config.round_steps
        self.smoothed_score: float | None = None
        self.best_score: float | None = None
        self._unchecked: deque[tuple[int, tuple[str, ...], Tensor]] = deque()
        self._stop: Callable[[], bool] = lambda: self.clock.finished

    def run(self) -> Outcome:
        """Trains from where the state stands to the end of the schedule.

        Raises:
            TrainingError: a loss that is not finite, or a worker that died.
            KeyboardInterrupt: after Ctrl-C, when the step is done and the state is saved.
        """
        # Sums on a CPU depend on the number of threads, so that a resumed training needs as many as it began with.
        torch.set_num_threads(self.runtime.threads)
        stop_at = _ENDLESS if self.config.stop_after is None else self.clock.step + self.config.stop_after
        with deferred_interrupt() as interrupted:
            self._stop = lambda: self.clock.finished or self.clock.step >= stop_at or interrupted()
            while not self._stop():
                with self.task.batches(range(self.clock.step, self._last_step()), TRAINING) as batches:
                    self._rounds(iter(batches))
            if interrupted() and not self.clock.finished:
                logger.warning("stopped at step %d; the state is saved, --resume goes on from here", self.clock.step)
                raise KeyboardInterrupt
        if self.clock.finished:
            with self.averaged():
                save_checkpoint(self.fold.final, {"network": self.network.state_dict(), **self._summary()})
        for hook in self.hooks:
            hook.end()
        return Outcome(self.clock.finished, self.clock.step, self.clock.elapsed, self.best_score)

    def resume(self) -> bool:
        """Takes up the state of the last checkpoint, if there is one; True if so."""
        if not self.fold.last.exists():
            return False
        state = load_checkpoint(self.fold.last)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.task.load_state(state["task"])
        if self.average is not None and state["average"] is not None:
            self.average.load_state(state["average"])
        self.clock = Clock(self.config, step=state["step"], seconds=state["seconds"])
        self.round_steps = state["round_steps"]
        self.smoothed_score, self.best_score = state["smoothed_score"], state["best_score"]
        logger.info("resuming at step %d", self.clock.step)
        return True

    def averaged(self) -> Any:
        """A context in which the network has its averaged weights, if an average is kept."""
        return self.average.applied() if self.average is not None else nullcontext()

    def _rounds(self, batches: Iterator[Any]) -> None:
        """Rounds on one stream of batches, until the end or until the task wants other batches."""
        changed = False
        while not self._stop() and not changed:
            if self._round(batches):
                changed = self.task.adapt(self.forward, self.clock.step, self._place)
            self._save(self.fold.last)

    def _round(self, batches: Iterator[Any]) -> bool:
        """Steps up to the next multiple of `round_steps`; False if stopped before it."""
        losses: list[Tensor] = []
        waited, start = 0.0, time.perf_counter()
        rate, complete = 0.0, False
        while not complete and not self._stop():
            before = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - before
            rate = learning_rate(self.config.optimizer.learning_rate, self.clock.progress, self.config.schedule)
            losses.append(self._step(batch, rate))
            self.clock.step += 1
            if self.round_steps is None and self.clock.step >= 10:
                # Only now is the pace known well enough to cut the time into rounds.
                self.round_steps = self.clock.round_steps()
            complete = self.round_steps is not None and self.clock.step % self.round_steps == 0
        self._check_losses(keep=0)
        seconds = time.perf_counter() - start
        loss = float(torch.stack(losses).mean())
        validation_loss, scores = self._validate(len(losses))
        self._report(loss, validation_loss, scores, rate, seconds / len(losses), waited / seconds)
        return complete

    def _step(self, batch: Any, rate: float) -> Tensor:
        """One optimiser step; returns the loss, still on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.runtime.autocast():
            loss = self.task.loss(self.forward, self._place(batch))
        self._unchecked.append((self.clock.step, batch.cases, loss.detach()))
        self._check_losses(keep=0 if self.runtime.device == "cpu" else _CHECK_LATER)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update()
        return loss.detach()

    def _place(self, batch: Any) -> Any:
        return batch.to(self.runtime.device, self.layout)

    def _check_losses(self, keep: int) -> None:
        """Raises for a loss that is not finite, looking only at those older than `keep` steps: no waiting."""
        while len(self._unchecked) > keep:
            step, cases, loss = self._unchecked.popleft()
            if not bool(torch.isfinite(loss)):
                raise TrainingError(
                    "the loss is not a finite number",
                    where=f"step {step}, cases {', '.join(sorted(set(cases)))}",
                    got=float(loss),
                    remedy="look at these images (`autoseg check`), or lower the learning rate",
                )

    @torch.no_grad()
    def _validate(self, steps: int) -> tuple[float | None, dict[str, float | None]]:
        """Mean loss and scores over patches of the validation cases; the same patches after equal steps."""
        count = max(1, round(steps * self.config.validation_share)) if self.config.validation_share else 0
        if count == 0:
            return None, {}
        losses, counts = [], None
        self.network.eval()
        with self.averaged(), self.task.batches(range(self.clock.step, self.clock.step + count), VALIDATION) as batches:
            for batch in batches:
                with self.runtime.autocast():
                    loss, found = self.task.validation(self.forward, self._place(batch))
                losses.append(loss)
                counts = found if counts is None else counts + found
        self.network.train()
        assert counts is not None
        return float(torch.stack(losses).mean()), self.task.scores(counts.cpu())

    def _report(
        self,
        loss: float,
        validation_loss: float | None,
        scores: dict[str, float | None],
        rate: float,
        step_seconds: float,
        waiting: float,
    ) -> None:
        known = [score for score in scores.values() if score is not None]
        mean = sum(known) / len(known) if known else None
        if mean is not None:
            # nnU-Net's smoothing, so that one lucky round does not become the best checkpoint.
            self.smoothed_score = mean if self.smoothed_score is None else 0.9 * self.smoothed_score + 0.1 * mean
            if self.best_score is None or self.smoothed_score > self.best_score:
                self.best_score = self.smoothed_score
                with self.averaged():
                    save_checkpoint(self.fold.best, {"network": self.network.state_dict(), **self._summary()})
        report = RoundReport(
            step=self.clock.step,
            steps=self.clock.total_steps,
            seconds=round(self.clock.elapsed, 2),
            remaining=round(self.clock.remaining, 1),
            loss=loss,
            validation_loss=validation_loss,
            learning_rate=rate,
            validation_dice=scores,
            validation_foreground_dice=mean,
            step_seconds=round(step_seconds, 4),
            waiting_for_data=round(waiting, 4),
        )
        for hook in self.hooks:
            hook.round(report)

    def _summary(self) -> dict[str, Any]:
        return {"step": self.clock.step, "seconds": self.clock.elapsed, "runtime": self.runtime.model_dump()}

    def _save(self, path: Any) -> None:
        save_checkpoint(
            path,
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "average": None if self.average is None else self.average.state(),
                "task": self.task.state(),
                "config": self.config.model_dump(),
                "round_steps": self.round_steps,
                "smoothed_score": self.smoothed_score,
                "best_score": self.best_score,
                **self._summary(),
            },
        )

    def _last_step(self) -> int:
        return self.config.steps if self.config.steps is not None else _ENDLESS


def begun_with(fold: Fold) -> tuple[Runtime, TrainingConfig] | None:
    """Runtime and configuration that an unfinished training began with, so that it ends with the same numbers."""
    if not fold.last.exists():
        return None
    state = load_checkpoint(fold.last)
    return Runtime.model_validate(state["runtime"]), TrainingConfig.model_validate(state["config"])
